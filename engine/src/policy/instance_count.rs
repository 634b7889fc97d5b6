//! How many instances of policies there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts the instances of all policies.
#[derive(Default)]
pub struct Census {
    made: AtomicU64,
    dropped: AtomicU64,
}

/// An instance that is counted until this is dropped.
pub(crate) struct Counted(Arc<Census>);

impl Census {
    /// Counts another instance.
    pub(crate) fn one_more(census: &Arc<Self>) -> Counted {
        census.made.fetch_add(1, Relaxed);
        Counted(Arc::clone(census))
    }

    /// How many were made and how many dropped.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let dropped = self.dropped.load(Relaxed);
        (self.made.load(Relaxed), dropped)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Relaxed);
    }
}
