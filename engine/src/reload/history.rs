//! History of the policy: activations and rejections.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::policy::Digest;

/// Number of events that are kept.
const MAX_EVENTS: usize = 32;

/// Events of this process, and totals.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Number of rejections.
    pub rejected: u64,
    /// Number of returns from a policy that failed every call to the one before.
    pub returned: u64,
    /// The last rejection.
    pub last_rejected: Option<Rejection>,
    /// The part of the files that is not active, for the reason of the last rejection.
    pub on_hold: Option<Part>,
    /// The candidate that is being loaded.
    pub loading: Option<Loading>,
    /// Files that were replaced where they are mounted from, and can never change here.
    pub detached_files: Vec<PathBuf>,
    events: VecDeque<HistoryEvent>,
}

/// A candidate that is being loaded: compiled and put through preflight.
#[derive(Clone, Copy, Debug)]
pub struct Loading {
    /// SHA-256 of its component.
    pub digest: Digest,
    /// When loading began.
    pub since: SystemTime,
}

/// An event of the policy.
#[derive(Clone, Debug)]
pub struct HistoryEvent {
    /// Time of the event.
    pub at: SystemTime,
    /// Kind of the event.
    pub kind: HistoryEventKind,
}

/// Kind of an event.
#[derive(Clone, Debug)]
pub enum HistoryEventKind {
    /// A policy became the active one.
    Activated {
        /// Name of the policy.
        name: String,
        /// SHA-256 of its component.
        digest: Digest,
        /// Its generation.
        generation: u64,
        /// Whether its settings differ from those of the policy before; `false` for the first policy.
        settings_changed: bool,
    },
    /// A candidate was rejected and the active policy stayed, or the active policy was rejected after it had failed every
    /// call.
    Rejected(Rejection),
    /// After a rejection, the file holds the active policy again.
    Restored,
}

/// A part of the files of a policy that could not be activated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The component. The settings are active, with the component before.
    Component,
    /// The settings. The component is active, with the settings before.
    Settings,
    /// The component, the settings, or both: neither of them works with what is active.
    Any,
}

impl Part {
    /// Name for logs and the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Settings => "settings",
            Self::Any => "component-or-settings",
        }
    }
}

/// A candidate that could not be activated.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// SHA-256 of its component; `None` if it could not be read.
    pub digest: Option<Digest>,
    /// The error, on one line.
    pub reason: String,
    /// Time of the rejection.
    pub at: SystemTime,
}

/// Reader of a [`History`]. Cheap to clone.
#[derive(Clone)]
pub struct HistoryReader(Arc<Mutex<History>>);

/// The one writer of a [`History`].
#[derive(Default)]
pub(super) struct HistoryWriter(Arc<Mutex<History>>);

impl History {
    /// Events, the newest first.
    pub fn events(&self) -> impl Iterator<Item = &HistoryEvent> {
        self.events.iter().rev()
    }

    fn push(&mut self, event: HistoryEvent) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

impl HistoryReader {
    /// Copies the history as it is now.
    #[must_use]
    pub fn snapshot(&self) -> History {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl HistoryWriter {
    /// Takes note of the files that can never change. Returns those that are new.
    pub(super) fn set_detached_files(&mut self, files: Vec<PathBuf>) -> Vec<PathBuf> {
        let mut history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = files.iter().filter(|file| !history.detached_files.contains(file)).cloned().collect();
        history.detached_files = files;
        new
    }

    pub(super) fn reader(&self) -> HistoryReader {
        HistoryReader(Arc::clone(&self.0))
    }

    pub(super) fn push(&mut self, at: SystemTime, kind: HistoryEventKind) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(HistoryEvent { at, kind });
    }

    pub(super) fn set_loading(&mut self, loading: Option<Loading>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).loading = loading;
    }

    pub(super) fn set_on_hold(&mut self, part: Option<Part>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).on_hold = part;
    }

    /// Records that an active policy was rejected after all.
    pub(super) fn push_return(&mut self, rejection: Rejection) {
        self.push_rejection(rejection);
        let mut history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        history.returned += 1;
        history.on_hold = Some(Part::Component);
    }

    pub(super) fn push_rejection(&mut self, rejection: Rejection) {
        let mut history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        history.rejected += 1;
        history.last_rejected = Some(rejection.clone());
        history.push(HistoryEvent { at: rejection.at, kind: HistoryEventKind::Rejected(rejection) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_events_and_all_totals() {
        let mut writer = HistoryWriter::default();
        let at = SystemTime::UNIX_EPOCH;
        for number in 0..100 {
            writer.push_rejection(Rejection { digest: None, reason: number.to_string(), at });
        }
        writer.push(at, HistoryEventKind::Restored);
        let history = writer.reader().snapshot();
        assert_eq!((history.rejected, history.events().count()), (100, MAX_EVENTS));
        assert_eq!(history.last_rejected.as_ref().map(|last| last.reason.as_str()), Some("99"));
        assert!(matches!(history.events().next(), Some(HistoryEvent { kind: HistoryEventKind::Restored, .. })));
    }
}
