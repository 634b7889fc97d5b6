//! The TCP filter: holds what a client sends until there is a whole CONNECT, and lets it go on to the broker, or not.
//!
//! Envoy's `tcp_proxy`, which comes behind this filter, connects to a cluster once bytes reach it. By itself that is a
//! cluster of Envoy's own that sends back whatever it gets; only a client that is let in is sent to the broker's. One that
//! is turned away has its bytes replaced by a CONNACK, which comes back to it from there.

use std::cell::Cell;
use std::rc::Rc;

use auth_core::{Grant, Settings, UnixTime, Verdict, authenticate};
use proxy_wasm::traits::{Context, StreamContext};
use proxy_wasm::types::Action;

use super::connack::Refusal;
use super::connect::{self, Connect, Problem, Version};
use crate::deadlines::{Appointment, TICK, Timetable};
use crate::host_calls;

/// What all connections have in common.
pub(crate) struct Connections {
    settings: Settings,
    cluster: String,
    most_connect: usize,
    patience: u64,
    ticks: Cell<u64>,
    /// Connections that may not last, by the tick at which they end.
    passing: Rc<Timetable>,
    /// Those that were let in until some time, by that time.
    sessions: Rc<Timetable>,
}

impl Connections {
    pub(crate) fn new(settings: Settings, cluster: String, most_connect: usize, seconds: u64) -> Self {
        let patience = seconds.saturating_mul(1_000) / TICK.as_millis() as u64;
        Self {
            settings,
            cluster,
            most_connect,
            patience,
            ticks: Cell::new(0),
            passing: Rc::default(),
            sessions: Rc::default(),
        }
    }

    /// Counts a tick: those who are to be ended now.
    pub(crate) fn tick(&self, now: UnixTime, most: usize) -> Vec<u32> {
        let tick = self.ticks.get().saturating_add(1);
        self.ticks.set(tick);
        let mut due = self.passing.due(tick, most);
        due.extend(self.sessions.due(now.0, most.saturating_sub(due.len())));
        due
    }
}

/// One connection.
pub(crate) struct Mqtt {
    id: u32,
    connections: Rc<Connections>,
    state: State,
    /// When it ends, if that is known.
    end: Option<Appointment>,
}

enum State {
    /// Its CONNECT has not arrived whole.
    Connecting,
    /// It is let in until then, and nothing that it sends is looked at any more.
    Through(Option<UnixTime>),
    /// It is turned away, and its CONNACK is on the way. Nothing more that it sends goes any further.
    Refused,
    /// The next tick ends it. Nothing that it sends goes any further.
    Over,
}

/// What is to be done with a client.
enum Decision {
    /// There is not all of its CONNECT.
    Wait,
    /// It is let in, until then.
    Admit { version: Version, until: Option<UnixTime> },
    /// It is told that it is not.
    Refuse(Version, Refusal),
    /// It is told nothing, because it would not understand it.
    Drop(&'static str),
}

impl Mqtt {
    pub(crate) fn new(id: u32, connections: Rc<Connections>) -> Self {
        Self { id, connections, state: State::Connecting, end: None }
    }

    /// Enters the end of this connection, instead of the one that there was.
    fn end_in(&mut self, ticks: u64) {
        let at = self.connections.ticks.get().saturating_add(ticks);
        // First of all: the entry that there was may be the same, and is taken off the table with its appointment.
        self.end = None;
        self.end = Some(self.connections.passing.enter(self.id, at));
    }

    fn decide(&self, arrived: usize, is_last: bool) -> Decision {
        let limit = self.connections.most_connect;
        let start = host_calls::downstream(arrived.min(connect::LONGEST_START));
        let packet = match connect::length(&start, limit) {
            Ok(Some(length)) if length <= arrived => host_calls::downstream(length),
            Ok(_) if is_last => return Decision::Drop("cut"),
            Ok(_) => return Decision::Wait,
            Err(problem) => return Decision::of(problem),
        };
        match Connect::read(&packet) {
            Ok(client) => self.judge(&client),
            Err(problem) => Decision::of(problem),
        }
    }

    fn judge(&self, client: &Connect) -> Decision {
        let now = host_calls::now();
        match authenticate(&client.credentials(), &self.connections.settings, || now) {
            Verdict::Allow(Grant { expires_at: Some(end), .. }) if end <= now => {
                self.refuse(client, Refusal::Unavailable)
            }
            Verdict::Allow(grant) => Decision::Admit { version: client.version, until: grant.expires_at },
            Verdict::Deny(reason) => self.refuse(client, reason.into()),
        }
    }

    fn refuse(&self, client: &Connect, refusal: Refusal) -> Decision {
        let (client_id, reason, peer) = (host_calls::shown(client.client_id), refusal.name(), host_calls::peer());
        host_calls::inform(&format!("refused: client_id={client_id} reason={reason} peer={peer}"));
        Decision::Refuse(client.version, refusal)
    }

    /// Has a client turned away: its bytes are not the broker's to see.
    fn turn_away(&mut self, version: Version, refusal: Refusal) -> Action {
        self.state = State::Refused;
        self.end_in(self.connections.patience);
        host_calls::replace_downstream(&refusal.connack(version));
        Action::Continue
    }

    /// Has a connection closed by the next tick, with nothing said.
    fn drop(&mut self, reason: &str) -> Action {
        host_calls::inform(&format!("closed: reason={reason} peer={}", host_calls::peer()));
        self.state = State::Over;
        self.end_in(1);
        host_calls::replace_downstream(b"");
        Action::Pause
    }

    fn connecting(&mut self, arrived: usize, is_last: bool) -> Action {
        match self.decide(arrived, is_last) {
            Decision::Wait => Action::Pause,
            // The one place where anybody is let in.
            Decision::Admit { until, .. } if host_calls::choose_cluster(&self.connections.cluster) => {
                self.state = State::Through(until);
                self.end = until.map(|until| self.connections.sessions.enter(self.id, until.0));
                Action::Continue
            }
            Decision::Admit { version, .. } => {
                host_calls::warn("refused: Envoy does not take the cluster of the broker for a connection");
                self.turn_away(version, Refusal::Unavailable)
            }
            Decision::Refuse(version, refusal) => self.turn_away(version, refusal),
            Decision::Drop(reason) => self.drop(reason),
        }
    }
}

impl Decision {
    fn of(problem: Problem) -> Self {
        match problem {
            Problem::NotConnect => Self::Drop("not-connect"),
            Problem::TooLong => Self::Drop("too-long"),
            Problem::Malformed => Self::Drop("malformed"),
            Problem::Version(version) => Self::Refuse(version, Refusal::ProtocolVersion),
            Problem::Authentication => Self::Refuse(Version::V5, Refusal::AuthenticationMethod),
        }
    }
}

/// Whether the time of a session is over. Most have none, and no clock is looked at.
fn has_ended(until: Option<UnixTime>) -> bool {
    until.is_some_and(|until| until <= host_calls::now())
}

impl Context for Mqtt {}

impl StreamContext for Mqtt {
    fn on_new_connection(&mut self) -> Action {
        self.end_in(self.connections.patience);
        Action::Pause
    }

    fn on_downstream_data(&mut self, arrived: usize, is_last: bool) -> Action {
        match self.state {
            State::Through(until) if has_ended(until) => {
                host_calls::replace_downstream(b"");
                Action::Pause
            }
            State::Through(_) => Action::Continue,
            State::Connecting => self.connecting(arrived, is_last),
            State::Refused | State::Over => {
                host_calls::replace_downstream(b"");
                Action::Pause
            }
        }
    }

    /// To a client that is turned away, this is its CONNACK. Envoy closes a connection only once it has sent what it holds
    /// for it: to one whose time is over, nothing more is added to that.
    fn on_upstream_data(&mut self, arrived: usize, _: bool) -> Action {
        if let State::Through(until) = self.state
            && has_ended(until)
        {
            host_calls::drop_upstream();
            return Action::Pause;
        }
        if matches!(self.state, State::Refused) && arrived > 0 {
            self.state = State::Over;
            self.end_in(1);
        }
        Action::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_put_off_to_the_same_tick_still_comes() {
        let key = |name: &str| (name == "signature-keys").then(|| "a key of more than 16 bytes".to_owned());
        let settings = Settings::read(key).ok().unwrap();
        let connections = Rc::new(Connections::new(settings, "broker".to_owned(), 65_536, 1));
        let mut client = Mqtt::new(7, Rc::clone(&connections));
        assert_eq!(client.on_new_connection(), Action::Pause);
        let last = connections.patience;
        assert!((1..last).all(|_| connections.tick(UnixTime(0), 10).is_empty()));
        client.end_in(1);
        assert_eq!(connections.tick(UnixTime(0), 10), [7]);
    }
}
