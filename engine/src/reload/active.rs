//! The policy in service, as everyone but the reloader sees it.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};

use crate::policy::Policy;

/// A policy and its place in the history of this gate.
pub struct InService {
    /// The policy.
    pub policy: Policy,
    /// 1 for the policy that the gate began with, one more for each after it.
    pub generation: u64,
    /// When it began to serve.
    pub since: SystemTime,
    /// Where its component comes from.
    pub from: Source,
}

/// Where the component of a policy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From within the program: the default policy.
    Program,
    /// From the policy file.
    File,
    /// From the state directory, because the policy file was of no use when the gate began.
    LastGood,
}

impl Source {
    /// As it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::File => "file",
            Self::LastGood => "last good",
        }
    }
}

/// The policy in service. Cheap to clone; always holds one that works.
///
/// There is no way to put another in its place from here: [`Publisher`] is the one that can, and cannot be cloned.
#[derive(Clone)]
pub struct ActivePolicy(Arc<ArcSwap<InService>>);

/// The one writer of an [`ActivePolicy`].
pub struct Publisher(Arc<ArcSwap<InService>>);

impl ActivePolicy {
    /// The policy that serves now. It goes on to work for whoever holds it, also when another takes its place.
    #[must_use]
    pub fn get(&self) -> Arc<InService> {
        self.0.load_full()
    }
}

impl ActivePolicy {
    /// The policy that serves now, for a moment: who takes it writes nothing that other threads read. Not to be held
    /// across an await.
    pub fn peek(&self) -> Guard<Arc<InService>> {
        self.0.load()
    }
}

impl Publisher {
    /// Puts the first policy in service.
    pub fn new(policy: Policy, from: Source, since: SystemTime) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(InService { policy, generation: 1, since, from })))
    }

    pub fn active(&self) -> ActivePolicy {
        ActivePolicy(Arc::clone(&self.0))
    }

    /// Puts a policy in service; returns the one that served until now. Whoever asks from here on gets the new one.
    pub fn publish(&mut self, policy: Policy, from: Source, since: SystemTime) -> Arc<InService> {
        let generation = self.0.load().generation.saturating_add(1);
        self.0.swap(Arc::new(InService { policy, generation, since, from }))
    }
}
