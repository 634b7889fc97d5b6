//! Index of the current thread, for per-thread shards.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Number of shards. Threads beyond it share the shards of others, so every shard needs a lock or atomics.
///
/// 64 covers the workers of a large machine. A gate may have up to 256 workers; workers 65 and up share.
pub const THREADS: usize = 64;

thread_local! {
    /// Threads are numbered in the order in which they first ask.
    static NUMBER: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed)
    };
}

/// Returns the index of this thread, below [`THREADS`].
#[must_use]
pub fn current() -> usize {
    NUMBER.with(|number| number % THREADS)
}
