//! The TCP filter: holds what a client sends until there is a whole CONNECT, and lets it go on to the broker, or not.
//!
//! Envoy's `tcp_proxy`, which comes behind this filter, connects to a cluster once bytes reach it. By itself that is a
//! cluster of Envoy's own that sends back whatever it gets; only a client that is let in is sent to the broker's. One that
//! is turned away has its bytes replaced by a CONNACK, which comes back to it from there.

use std::cell::Cell;
use std::rc::Rc;

use auth_core::{Grant, Settings, UnixTime, Verdict};
use proxy_wasm::traits::{Context, StreamContext};
use proxy_wasm::types::Action;

use super::connack::Rejection;
use super::connect::{Connect, ConnectError, MAX_FIXED_HEADER_BYTES, Version, packet_length};
use crate::deadlines::{Deadline, DeadlineQueue, TICK_INTERVAL};
use crate::host_calls;

/// What all filter have in common.
pub(crate) struct MqttFilter {
    settings: Settings,
    cluster: String,
    max_connect: usize,
    connect_ticks: u64,
    ticks: Cell<u64>,
    /// MqttFilter that may not last, by the tick at which they end.
    closings: Rc<DeadlineQueue>,
    /// Those that were let in until some time, by that time.
    sessions: Rc<DeadlineQueue>,
}

impl MqttFilter {
    pub(crate) fn new(settings: Settings, cluster: String, max_connect: usize, seconds: u64) -> Self {
        let connect_ticks = seconds.saturating_mul(1_000) / TICK_INTERVAL.as_millis() as u64;
        Self {
            settings,
            cluster,
            max_connect,
            connect_ticks,
            ticks: Cell::new(0),
            closings: Rc::default(),
            sessions: Rc::default(),
        }
    }

    /// Counts a tick: those who are to be ended now.
    pub(crate) fn tick(&self, now: UnixTime, max: usize) -> Vec<u32> {
        let tick = self.ticks.get().saturating_add(1);
        self.ticks.set(tick);
        let mut due = self.closings.take_due(tick, max);
        due.extend(self.sessions.take_due(now.0, max.saturating_sub(due.len())));
        due
    }
}

/// One connection.
pub(crate) struct MqttConnection {
    id: u32,
    filter: Rc<MqttFilter>,
    state: State,
    /// When it ends, if that is known.
    deadline: Option<Deadline>,
}

enum State {
    /// Its CONNECT has not arrived whole.
    AwaitingConnect,
    /// It is let in until then, and nothing that it sends is looked at any more.
    Forwarding(Option<UnixTime>),
    /// It is turned away, and its CONNACK is on the way. Nothing more that it sends goes any further.
    Rejecting,
    /// The next tick ends it. Nothing that it sends goes any further.
    Closing,
}

/// What is to be done with a client.
enum Decision {
    /// There is not all of its CONNECT.
    Wait,
    /// It is let in, until then.
    Allow { version: Version, until: Option<UnixTime> },
    /// It is told that it is not.
    Reject(Version, Rejection),
    /// It is told nothing, because it would not understand it.
    Close(&'static str),
}

impl MqttConnection {
    pub(crate) fn new(id: u32, filter: Rc<MqttFilter>) -> Self {
        Self { id, filter, state: State::AwaitingConnect, deadline: None }
    }

    /// Enters the end of this connection, instead of the one that there was.
    fn close_in(&mut self, ticks: u64) {
        let at = self.filter.ticks.get().saturating_add(ticks);
        // First of all: the entry that there was may be the same, and is taken off the table with its appointment.
        self.deadline = None;
        self.deadline = Some(self.filter.closings.add(self.id, at));
    }

    fn decide(&self, arrived: usize, is_last: bool) -> Decision {
        let limit = self.filter.max_connect;
        let start = host_calls::downstream_bytes(arrived.min(MAX_FIXED_HEADER_BYTES));
        let packet = match packet_length(&start, limit) {
            Ok(Some(length)) if length <= arrived => host_calls::downstream_bytes(length),
            Ok(_) if is_last => return Decision::Close("cut"),
            Ok(_) => return Decision::Wait,
            Err(error) => return Decision::from_error(error),
        };
        match Connect::decode(&packet) {
            Ok(client) => self.authenticate(&client),
            Err(error) => Decision::from_error(error),
        }
    }

    fn authenticate(&self, client: &Connect) -> Decision {
        let now = host_calls::now();
        match auth_core::authenticate(&client.credentials(), &self.filter.settings, || now) {
            Verdict::Allow(Grant { expires_at: Some(end), .. }) if end <= now => {
                self.deny(client, Rejection::ServerUnavailable)
            }
            Verdict::Allow(grant) => Decision::Allow { version: client.version, until: grant.expires_at },
            Verdict::Deny(reason) => self.deny(client, reason.into()),
        }
    }

    fn deny(&self, client: &Connect, rejection: Rejection) -> Decision {
        let (client_id, reason, peer) =
            (host_calls::sanitize(client.client_id), rejection.name(), host_calls::peer_address());
        host_calls::info(&format!("refused: client_id={client_id} reason={reason} peer={peer}"));
        Decision::Reject(client.version, rejection)
    }

    /// Has a client turned away: its bytes are not the broker's to see.
    fn reject(&mut self, version: Version, rejection: Rejection) -> Action {
        self.state = State::Rejecting;
        self.close_in(self.filter.connect_ticks);
        host_calls::replace_downstream(&rejection.connack(version));
        Action::Continue
    }

    /// Has a connection closed by the next tick, with nothing said.
    fn close(&mut self, reason: &str) -> Action {
        host_calls::info(&format!("closed: reason={reason} peer={}", host_calls::peer_address()));
        self.state = State::Closing;
        self.close_in(1);
        host_calls::replace_downstream(b"");
        Action::Pause
    }

    fn on_connect(&mut self, arrived: usize, is_last: bool) -> Action {
        match self.decide(arrived, is_last) {
            Decision::Wait => Action::Pause,
            // The one place where anybody is let in.
            Decision::Allow { until, .. } if host_calls::choose_cluster(&self.filter.cluster) => {
                self.state = State::Forwarding(until);
                self.deadline = until.map(|until| self.filter.sessions.add(self.id, until.0));
                Action::Continue
            }
            Decision::Allow { version, .. } => {
                host_calls::warn("refused: Envoy does not take the cluster of the broker for a connection");
                self.reject(version, Rejection::ServerUnavailable)
            }
            Decision::Reject(version, rejection) => self.reject(version, rejection),
            Decision::Close(reason) => self.close(reason),
        }
    }
}

impl Decision {
    fn from_error(error: ConnectError) -> Self {
        match error {
            ConnectError::NotConnect => Self::Close("not-connect"),
            ConnectError::TooLong => Self::Close("too-long"),
            ConnectError::Malformed => Self::Close("malformed"),
            ConnectError::UnsupportedVersion(version) => Self::Reject(version, Rejection::UnsupportedProtocolVersion),
            ConnectError::EnhancedAuthentication => Self::Reject(Version::V5, Rejection::BadAuthenticationMethod),
        }
    }
}

/// Whether the time of a session is over. Most have none, and no clock is looked at.
fn has_ended(until: Option<UnixTime>) -> bool {
    until.is_some_and(|until| until <= host_calls::now())
}

impl Context for MqttConnection {}

impl StreamContext for MqttConnection {
    fn on_new_connection(&mut self) -> Action {
        self.close_in(self.filter.connect_ticks);
        Action::Pause
    }

    fn on_downstream_data(&mut self, arrived: usize, is_last: bool) -> Action {
        match self.state {
            State::Forwarding(until) if has_ended(until) => {
                host_calls::replace_downstream(b"");
                Action::Pause
            }
            State::Forwarding(_) => Action::Continue,
            State::AwaitingConnect => self.on_connect(arrived, is_last),
            State::Rejecting | State::Closing => {
                host_calls::replace_downstream(b"");
                Action::Pause
            }
        }
    }

    /// To a client that is turned away, this is its CONNACK. Envoy closes a connection only once it has sent what it holds
    /// for it: to one whose time is over, nothing more is added to that.
    fn on_upstream_data(&mut self, arrived: usize, _: bool) -> Action {
        if let State::Forwarding(until) = self.state
            && has_ended(until)
        {
            host_calls::drop_upstream();
            return Action::Pause;
        }
        if matches!(self.state, State::Rejecting) && arrived > 0 {
            self.state = State::Closing;
            self.close_in(1);
        }
        Action::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadline_replaced_by_an_equal_one_still_fires() {
        let key = |name: &str| (name == "signature-keys").then(|| "a key of more than 16 bytes".to_owned());
        let settings = Settings::read(key).ok().unwrap();
        let filter = Rc::new(MqttFilter::new(settings, "broker".to_owned(), 65_536, 1));
        let mut client = MqttConnection::new(7, Rc::clone(&filter));
        assert_eq!(client.on_new_connection(), Action::Pause);
        let last = filter.connect_ticks;
        assert!((1..last).all(|_| filter.tick(UnixTime(0), 10).is_empty()));
        client.close_in(1);
        assert_eq!(filter.tick(UnixTime(0), 10), [7]);
    }
}
