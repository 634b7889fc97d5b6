//! What happened to the policy in service: which ones served, and what was refused.

use std::collections::VecDeque;
use std::time::SystemTime;

use mqtt_gate_engine::policy::Digest;

/// So many events are remembered.
const MOST: usize = 32;

/// The events of this gate, the last of them one by one.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Candidates that were refused.
    pub(crate) rejected: u64,
    /// The last of them.
    pub(crate) last_rejected: Option<Rejection>,
    events: VecDeque<Event>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: SystemTime,
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A policy was put in service.
    Serves {
        name: String,
        digest: Digest,
        generation: u64,
        /// Whether it has other settings than the one before it; not so of the first.
        settings_changed: bool,
    },
    /// A candidate was refused, and the policy in service went on.
    Rejected(Rejection),
    /// What lies there is again what serves: nobody has to do anything about what was refused.
    Restored,
}

/// A candidate that was not put in service.
#[derive(Clone, Debug)]
pub(crate) struct Rejection {
    /// Its digest; `None` if it could not even be read.
    pub(crate) digest: Option<Digest>,
    /// Why, on one line.
    pub(crate) reason: String,
    /// When.
    pub(crate) at: SystemTime,
}

impl History {
    /// Takes note of a candidate that does not serve.
    pub(crate) fn reject(&mut self, rejection: Rejection) {
        self.rejected += 1;
        self.last_rejected = Some(rejection.clone());
        self.remember(Event { at: rejection.at, what: What::Rejected(rejection) });
    }

    /// The events, the last one first.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().rev()
    }

    /// Takes note of anything.
    pub(crate) fn remember(&mut self, event: Event) {
        if self.events.len() == MOST {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}
