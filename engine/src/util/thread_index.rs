//! Which thread this is, for what each has a place of its own for.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Every thread has a place of its own, up to so many; further ones share.
pub const THREADS: usize = 64;

thread_local! {
    /// Threads in the order in which they first asked.
    static NUMBER: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Relaxed)
    };
}

/// The place of this thread, below [`THREADS`].
pub fn place() -> usize {
    NUMBER.with(|number| number % THREADS)
}
