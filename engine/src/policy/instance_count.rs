//! Count of live instances.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts the instances of all policies in one sandbox.
#[derive(Default)]
pub struct InstanceCounter {
    created: AtomicU64,
    destroyed: AtomicU64,
}

/// Counts one instance as alive until it is dropped.
pub(super) struct InstanceGuard(Arc<InstanceCounter>);

impl InstanceCounter {
    /// Counts a new instance.
    pub(super) fn track(counter: &Arc<Self>) -> InstanceGuard {
        counter.created.fetch_add(1, Relaxed);
        InstanceGuard(Arc::clone(counter))
    }

    /// Live instances.
    pub(super) fn alive(&self) -> u64 {
        let (created, destroyed) = self.counts();
        created.saturating_sub(destroyed)
    }

    /// Instances created and destroyed so far.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        // Read first, so that the difference is never negative.
        let destroyed = self.destroyed.load(Relaxed);
        (self.created.load(Relaxed), destroyed)
    }
}

impl Drop for InstanceGuard {
    fn drop(&mut self) {
        self.0.destroyed.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_live_instances() {
        let counter = Arc::<InstanceCounter>::default();
        let guards = [InstanceCounter::track(&counter), InstanceCounter::track(&counter)];
        assert_eq!(counter.counts(), (2, 0));
        drop(guards);
        assert_eq!(counter.counts(), (2, 2));
    }
}
