//! The trial of a version: whether it lets a client in, or fails every call.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::policy::{CallError, Permission, Verdict};
use crate::watch::Waker;

/// Failed calls in a row after which a version that never allowed anything has failed its trial.
pub(super) const MAX_FAULTS: u32 = 20;

/// Value of the counter once a version has passed.
const PASSED: u32 = u32::MAX;

/// Counts the failed calls in a row of one version, until a call allows something.
///
/// A denial ends a row but proves nothing: a policy that fails whenever it would allow still denies well.
pub(super) struct Trial {
    /// Failed calls in a row, at most [`MAX_FAULTS`], or [`PASSED`].
    faults: AtomicU32,
    /// Waker of the watch thread, for the call that makes the version fail. Empty: no thread watches.
    waker: Arc<OnceLock<Waker>>,
}

/// How a trial goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrialState {
    /// The version has neither allowed anything nor failed too often.
    Running,
    /// The version has allowed something. Later failures do not count.
    Passed,
    /// The version failed [`MAX_FAULTS`] calls in a row. It can still pass.
    Failed,
}

/// What one call tells about a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallResult {
    Allowed,
    Denied,
    Fault,
    /// Nothing: the policy was not called.
    Nothing,
}

impl Trial {
    pub(super) fn new(waker: Arc<OnceLock<Waker>>) -> Self {
        Self { faults: AtomicU32::new(0), waker }
    }

    /// Takes note of a call. A version that has passed costs one load.
    pub(super) fn record(&self, result: CallResult) {
        let faults = self.faults.load(Relaxed);
        if faults == PASSED {
            return;
        }
        match result {
            CallResult::Allowed => self.faults.store(PASSED, Relaxed),
            // If another thread counts at the same time, its count stands: the order of the two calls is not known.
            CallResult::Denied if faults < MAX_FAULTS => {
                let _ = self.faults.compare_exchange(faults, 0, Relaxed, Relaxed);
            }
            CallResult::Fault => self.record_fault(),
            CallResult::Denied | CallResult::Nothing => {}
        }
    }

    fn record_fault(&self) {
        let before = self.faults.try_update(Relaxed, Relaxed, |faults| (faults < MAX_FAULTS).then(|| faults + 1));
        if before == Ok(MAX_FAULTS - 1)
            && let Some(waker) = self.waker.get()
        {
            waker.wake();
        }
    }

    pub(super) fn state(&self) -> TrialState {
        match self.faults.load(Relaxed) {
            PASSED => TrialState::Passed,
            faults if faults < MAX_FAULTS => TrialState::Running,
            _ => TrialState::Failed,
        }
    }
}

impl CallResult {
    pub(super) fn of_login(result: &Result<Verdict, CallError>) -> Self {
        match result {
            Ok(Verdict::Allow(_)) => Self::Allowed,
            Ok(Verdict::Deny(_) | Verdict::Ignore) => Self::Denied,
            Err(error) => Self::of_error(error),
        }
    }

    pub(super) fn of_actions(result: &Result<Vec<Permission>, CallError>) -> Self {
        match result {
            Ok(permissions) if permissions.contains(&Permission::Allow) => Self::Allowed,
            Ok(_) => Self::Denied,
            Err(error) => Self::of_error(error),
        }
    }

    fn of_error(error: &CallError) -> Self {
        match error {
            // The gate is too busy.
            CallError::PoolExhausted | CallError::Overloaded | CallError::QuotaExceeded => Self::Nothing,
            CallError::Deadline
            | CallError::NoVerdict(_)
            | CallError::Trap(_)
            | CallError::OutOfMemory(_)
            | CallError::ContractMismatch(_)
            | CallError::HostPanic
            | CallError::CallFailed(_) => Self::Fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_after(results: &[(CallResult, u32)]) -> TrialState {
        let trial = Trial::new(Arc::default());
        for &(result, times) in results {
            for _ in 0..times {
                trial.record(result);
            }
        }
        trial.state()
    }

    #[test]
    fn a_version_fails_after_a_row_of_faults_and_passes_with_the_first_allow() {
        use CallResult::{Allowed, Denied, Fault, Nothing};
        for (results, expected) in [
            (&[][..], TrialState::Running),
            (&[(Fault, 19)], TrialState::Running),
            (&[(Fault, 20)], TrialState::Failed),
            (&[(Fault, 100)], TrialState::Failed),
            (&[(Fault, 10), (Nothing, 5), (Fault, 10)], TrialState::Failed),
            (&[(Fault, 19), (Denied, 1), (Fault, 19)], TrialState::Running),
            (&[(Denied, 100), (Fault, 20)], TrialState::Failed),
            (&[(Fault, 20), (Denied, 1)], TrialState::Failed),
            (&[(Fault, 19), (Allowed, 1), (Fault, 100)], TrialState::Passed),
            (&[(Fault, 20), (Allowed, 1), (Fault, 100)], TrialState::Passed),
        ] {
            assert_eq!(state_after(results), expected, "{results:?}");
        }
    }

    #[test]
    fn a_busy_gate_is_no_fault_of_the_policy() {
        for error in [CallError::PoolExhausted, CallError::Overloaded] {
            assert_eq!(CallResult::of_login(&Err(error)), CallResult::Nothing);
        }
        assert_eq!(CallResult::of_login(&Err(CallError::Deadline)), CallResult::Fault);
        assert_eq!(CallResult::of_login(&Ok(Verdict::Ignore)), CallResult::Denied);
        let mixed = Ok(vec![Permission::Deny, Permission::Allow]);
        assert_eq!(CallResult::of_actions(&mixed), CallResult::Allowed);
    }
}
