//! The active policy: read by everyone, replaced by one writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Release};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Guard};

use super::trial::{CallResult, Trial, TrialState};
use crate::policy::{AuthorizeRequest, CallError, Credentials, Permission, Policy, Verdict};
use crate::watch::Waker;

/// A policy with its place in the history of this process.
pub struct ActiveVersion {
    /// The policy.
    pub policy: Policy,
    /// 1 for the first policy of this process, one more after each swap.
    pub generation: u64,
    /// Time of its activation.
    pub since: SystemTime,
    /// Where its component was read from.
    pub origin: PolicyOrigin,
    trial: Trial,
}

impl ActiveVersion {
    /// As [`Policy::authenticate`]. A panic costs this client alone.
    ///
    /// # Errors
    /// There is no verdict. The caller must deny the client.
    pub fn authenticate(&self, credentials: &Credentials) -> Result<Verdict, CallError> {
        self.authenticate_within(credentials, self.policy.wall_timeout())
    }

    /// As [`Self::authenticate`], within this wall time.
    ///
    /// # Errors
    /// There is no verdict. [`CallError::Overloaded`]: the call may be made once more. Otherwise the caller must deny the
    /// client.
    pub fn authenticate_within(&self, credentials: &Credentials, max_wall: Duration) -> Result<Verdict, CallError> {
        let result = caught(|| self.policy.authenticate_within(credentials, max_wall));
        self.trial.record(CallResult::of_login(&result));
        result
    }

    /// As [`Policy::authorize`]. A panic costs this client alone.
    ///
    /// # Errors
    /// There is no permission for one of the accesses. The caller must deny the client.
    pub fn authorize(&self, request: &AuthorizeRequest) -> Result<Vec<Permission>, CallError> {
        self.authorize_within(request, self.policy.wall_timeout())
    }

    /// As [`Self::authorize`], within this wall time.
    ///
    /// # Errors
    /// As [`Self::authenticate_within`].
    pub fn authorize_within(
        &self,
        request: &AuthorizeRequest,
        max_wall: Duration,
    ) -> Result<Vec<Permission>, CallError> {
        let result = caught(|| self.policy.authorize_within(request, max_wall));
        if self.policy.has_authorizer() {
            self.trial.record(CallResult::of_actions(&result));
        }
        result
    }

    /// Whether this version has failed 20 calls in a row, and never allowed anything.
    #[must_use]
    pub fn fails_every_call(&self) -> bool {
        self.trial.state() == TrialState::Failed
    }

    pub(super) fn trial(&self) -> TrialState {
        self.trial.state()
    }
}

fn caught<T>(call: impl FnOnce() -> Result<T, CallError>) -> Result<T, CallError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(CallError::HostPanic))
}

/// Where the component of a policy was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyOrigin {
    /// The program itself.
    Embedded,
    /// The policy file.
    File,
    /// The state directory, because the policy file could not be used at startup.
    LastKnownGood,
}

impl PolicyOrigin {
    /// Name for logs and the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::File => "file",
            Self::LastKnownGood => "last-known-good",
        }
    }
}

/// Reader of the active policy. Cheap to clone; always holds a policy that passed preflight.
#[derive(Clone)]
pub struct ActivePolicy(Arc<ArcSwap<ActiveVersion>>);

/// The one writer of an [`ActivePolicy`]. It cannot be cloned.
pub struct ActivePolicyWriter {
    active: Arc<ArcSwap<ActiveVersion>>,
    /// Woken when a version fails every call.
    waker: Arc<OnceLock<Waker>>,
    /// Counts activations, also those of other policies that share it.
    activations: Arc<AtomicU64>,
}

impl ActivePolicy {
    /// Returns the active policy. It keeps working for its holder after a swap.
    #[must_use]
    pub fn get(&self) -> Arc<ActiveVersion> {
        self.0.load_full()
    }

    /// Loads the active policy without touching its reference count. Do not hold the guard across an await.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<ActiveVersion>> {
        self.0.load()
    }
}

impl ActivePolicyWriter {
    /// Activates the first policy.
    #[must_use]
    pub fn new(policy: Policy, origin: PolicyOrigin, since: SystemTime) -> Self {
        let waker = Arc::<OnceLock<Waker>>::default();
        let trial = Trial::new(Arc::clone(&waker));
        let first = ActiveVersion { policy, generation: 1, since, origin, trial };
        Self { active: Arc::new(ArcSwap::from_pointee(first)), waker, activations: Arc::default() }
    }

    /// Creates a reader.
    #[must_use]
    pub fn reader(&self) -> ActivePolicy {
        ActivePolicy(Arc::clone(&self.active))
    }

    /// Replaces the active policy in one atomic store, and returns the one before. Every later call gets the new one.
    pub fn activate(&mut self, policy: Policy, origin: PolicyOrigin, since: SystemTime) -> Arc<ActiveVersion> {
        let generation = self.active.load().generation.saturating_add(1);
        let trial = Trial::new(Arc::clone(&self.waker));
        let before = self.active.swap(Arc::new(ActiveVersion { policy, generation, since, origin, trial }));
        // Afterwards: what was read under a count was judged by that activation or a later one.
        self.activations.fetch_add(1, Release);
        before
    }

    /// Leaves each reader with the version that it has. Only readers that are created from now on get later versions.
    pub(super) fn detach(&mut self) {
        self.active = Arc::new(ArcSwap::new(self.active.load_full()));
    }

    /// Counts activations here from now on.
    pub(super) fn count_in(&mut self, activations: Arc<AtomicU64>) {
        self.activations = activations;
    }

    /// Sets what is woken when a version fails every call. Only the first one counts.
    pub(super) fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }
}
