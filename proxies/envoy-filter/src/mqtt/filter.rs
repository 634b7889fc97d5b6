//! The TCP filter: buffers the bytes of a client until its CONNECT packet is complete, and then forwards or rejects it.
//!
//! Envoy's `tcp_proxy`, the next filter, connects to a cluster when it receives bytes. By default that is an internal
//! cluster that echoes all bytes. This filter routes only allowed clients to the broker's cluster. It replaces the bytes
//! of a rejected client by a CONNACK packet, which the internal cluster echoes back to the client.
//!
//! ```text
//! AwaitingConnect ─┬─► Forwarding             a valid CONNECT packet; closed when the session expires
//!                  ├─► Rejecting ─► Closing   a CONNECT packet that is denied; Closing when its CONNACK has come back
//!                  └─► Closing                bytes that are not a CONNECT packet, or are too many
//! ```
//!
//! A tick closes connections in `Closing`, and those that stay too long in `AwaitingConnect` or `Rejecting`.

use std::cell::Cell;
use std::rc::Rc;

use auth_core::{Grant, Settings, UnixTime, Verdict};
use proxy_wasm::traits::{Context, StreamContext};
use proxy_wasm::types::Action;

use super::connack::Rejection;
use super::connect::{Connect, ConnectError, MAX_FIXED_HEADER_BYTES, Version, packet_length};
use crate::deadlines::{Deadline, DeadlineQueue, TICK_INTERVAL};
use crate::host_calls;

const CLUSTER_HINT: &str = "use a version of Envoy that has the foreign function set_envoy_filter_state";

/// The state that all connections of a worker thread share.
pub(crate) struct MqttFilter {
    settings: Settings,
    cluster: String,
    max_connect: usize,
    connect_ticks: u64,
    ticks: Cell<u64>,
    /// Connections that are not forwarded, by the tick at which they are closed.
    closings: Rc<DeadlineQueue>,
    /// Forwarded connections whose session expires, by the Unix time of the expiry.
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

    /// Counts a tick. Returns at most `max` connections to close now.
    pub(crate) fn tick(&self, now: UnixTime, max: usize) -> Vec<u32> {
        let tick = self.ticks.get().saturating_add(1);
        self.ticks.set(tick);
        let mut due = self.closings.take_due(tick, max);
        due.extend(self.sessions.take_due(now.0, max.saturating_sub(due.len())));
        due
    }
}

/// A connection of a client.
pub(crate) struct MqttConnection {
    id: u32,
    filter: Rc<MqttFilter>,
    state: State,
    /// The time at which the connection is closed, if there is one.
    deadline: Option<Deadline>,
}

/// The state of a connection.
enum State {
    /// The CONNECT packet is not complete.
    AwaitingConnect,
    /// The client is allowed until this time, if there is one. Its bytes are forwarded unread.
    Forwarding(Option<UnixTime>),
    /// The client is rejected, and its CONNACK is on the way. Its bytes are discarded.
    Rejecting,
    /// The next tick closes the connection. The client's bytes are discarded.
    Closing,
}

/// The decision about a client.
enum Decision {
    /// The CONNECT packet is not complete.
    Wait,
    /// Forward the client, until this time if there is one.
    Allow { version: Version, until: Option<UnixTime> },
    /// Answer with a CONNACK packet.
    Reject(Version, Rejection),
    /// Close without an answer, for this reason: the peer would not understand a CONNACK packet.
    Close(&'static str),
}

impl MqttConnection {
    pub(crate) fn new(id: u32, filter: Rc<MqttFilter>) -> Self {
        Self { id, filter, state: State::AwaitingConnect, deadline: None }
    }

    /// Sets the time at which this connection is closed, in ticks from now. Replaces the previous one.
    fn close_in(&mut self, ticks: u64) {
        let at = self.filter.ticks.get().saturating_add(ticks);
        // Drop the previous deadline first. It removes its entry, which may equal the new one.
        self.deadline = None;
        self.deadline = Some(self.filter.closings.add(self.id, at));
    }

    fn decide(&self, arrived: usize, is_last: bool) -> Decision {
        let limit = self.filter.max_connect;
        let start = host_calls::downstream_bytes(arrived.min(MAX_FIXED_HEADER_BYTES));
        let packet = match packet_length(&start, limit) {
            Ok(Some(length)) if length <= arrived => host_calls::downstream_bytes(length),
            Ok(_) if is_last => return Decision::Close("truncated"),
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
        host_calls::info(&format!("denied: client_id={client_id} reason={reason} peer={peer}"));
        Decision::Reject(client.version, rejection)
    }

    /// Rejects the client with a CONNACK packet. The broker never sees its bytes.
    fn reject(&mut self, version: Version, rejection: Rejection) -> Action {
        self.state = State::Rejecting;
        self.close_in(self.filter.connect_ticks);
        host_calls::replace_downstream(&rejection.connack(version));
        Action::Continue
    }

    /// Closes the connection at the next tick, without an answer.
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
            // The only place where a client is forwarded to the broker.
            Decision::Allow { until, .. } if host_calls::choose_cluster(&self.filter.cluster) => {
                self.state = State::Forwarding(until);
                self.deadline = until.map(|until| self.filter.sessions.add(self.id, until.0));
                Action::Continue
            }
            Decision::Allow { version, .. } => {
                host_calls::warn(&format!(
                    "error: cannot route the client to the broker: peer={} hint=\"{CLUSTER_HINT}\"",
                    host_calls::peer_address()
                ));
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

/// Whether the session has expired. Reads the clock only if the session has an end.
fn has_expired(until: Option<UnixTime>) -> bool {
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
            State::Forwarding(until) if has_expired(until) => {
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

    /// For a rejected client, these bytes are its CONNACK packet. Bytes for an expired session are discarded, because
    /// Envoy closes a connection only after it has sent everything that it buffers.
    fn on_upstream_data(&mut self, arrived: usize, _: bool) -> Action {
        if let State::Forwarding(until) = self.state
            && has_expired(until)
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
