//! Writes the active policy as the last known good one, and tries again after a failure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::{Observer, PolicyEvent};
use super::last_known_good::LastKnownGood;
use super::source::Candidate;

/// Wait after a write that failed: the disk may have room again by then.
const RETRY_WAIT: Duration = Duration::from_secs(2);

/// The policy that is to be written.
pub(super) struct Persist {
    last_known_good: LastKnownGood,
    pending: Option<Arc<Candidate>>,
    not_before: Option<Instant>,
    /// Whether the last write failed, so that it is reported once.
    is_failing: bool,
}

impl Persist {
    pub(super) fn new(last_known_good: LastKnownGood, pending: Option<Arc<Candidate>>) -> Self {
        Self { last_known_good, pending, not_before: None, is_failing: false }
    }

    /// Replaces the policy that is to be written.
    pub(super) fn schedule(&mut self, candidate: Arc<Candidate>) {
        self.pending = Some(candidate);
    }

    /// Writes the policy, if one is pending and no retry has to be waited for.
    pub(super) fn poll(&mut self, now: Instant, observer: &Observer) {
        if self.not_before.is_some_and(|at| now < at) {
            return;
        }
        let Some(candidate) = self.pending.take() else { return };
        let written = self.last_known_good.write(&candidate);
        if let Err(error) = &written {
            if !self.is_failing {
                let directory = self.last_known_good.directory();
                observer(&PolicyEvent::PersistFailed { directory, error });
            }
            self.pending = Some(candidate);
            self.not_before = Some(now + RETRY_WAIT);
        }
        self.is_failing = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;
    use crate::reload::{PolicySource, StateOwner};
    use crate::settings::SettingSources;

    #[test]
    fn retries_failed_writes_and_reports_them_once() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        // A file where the directory should be.
        fs::write(&state, "").unwrap();
        let owner = StateOwner::new(&directory.path().join("policy.wasm"), "");
        let observer: Observer = Box::new(|_| {});
        let last_known_good = LastKnownGood::open(state.clone(), owner, Duration::ZERO, &observer).unwrap();
        let candidate = PolicySource::embedded(b"component", SettingSources::default()).read().unwrap();
        let mut persist = Persist::new(last_known_good, Some(Arc::new(candidate)));
        let failures = Arc::<AtomicU32>::default();
        let counter = Arc::clone(&failures);
        let observer: Observer = Box::new(move |event| {
            assert!(matches!(event, PolicyEvent::PersistFailed { .. }));
            counter.fetch_add(1, Relaxed);
        });
        let start = Instant::now();
        persist.poll(start, &observer);
        persist.poll(start + RETRY_WAIT, &observer);
        assert_eq!(failures.load(Relaxed), 1);
        fs::remove_file(&state).unwrap();
        persist.poll(start + RETRY_WAIT, &observer);
        assert!(!state.exists(), "too early");
        persist.poll(start + 2 * RETRY_WAIT, &observer);
        let kept = fs::read_dir(&state).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != "lock");
        assert_eq!(kept.count(), 1);
    }
}
