//! The active policy: read by everyone, replaced by one writer.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};

use crate::policy::Policy;

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
pub struct ActivePolicyWriter(Arc<ArcSwap<ActiveVersion>>);

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
        Self(Arc::new(ArcSwap::from_pointee(ActiveVersion { policy, generation: 1, since, origin })))
    }

    /// Creates a reader.
    #[must_use]
    pub fn reader(&self) -> ActivePolicy {
        ActivePolicy(Arc::clone(&self.0))
    }

    /// Replaces the active policy in one atomic store, and returns the one before. Every later call gets the new one.
    pub fn activate(&mut self, policy: Policy, origin: PolicyOrigin, since: SystemTime) -> Arc<ActiveVersion> {
        let generation = self.0.load().generation.saturating_add(1);
        self.0.swap(Arc::new(ActiveVersion { policy, generation, since, origin }))
    }
}
