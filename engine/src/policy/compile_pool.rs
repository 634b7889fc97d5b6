//! Threads that compile policies.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// Nice level of compile threads. At 10 the Linux scheduler favours worker threads about 9:1, and a swap still finishes
/// on a saturated machine.
const NICE: i32 = 10;

/// Maximum number of compile threads. More make compiling a policy no faster.
const MAX_THREADS: usize = 4;

/// Compiles on low-priority threads, so that workers keep answering.
pub(super) struct CompilePool {
    /// For the first policy, on every processor: nothing else runs yet.
    startup: Mutex<Option<ThreadPool>>,
    /// For later policies, on half of the processors: a worker that wakes up finds a free one.
    background: ThreadPool,
}

impl CompilePool {
    /// # Errors
    /// The operating system refuses a thread.
    pub(super) fn new() -> Result<Self, ThreadPoolBuildError> {
        Ok(Self { startup: Mutex::new(Some(pool(processors())?)), background: pool(processors() / 2)? })
    }

    /// Runs `work` on the pool and waits for it. A panic reaches the caller.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let startup = self.startup.lock().unwrap_or_else(PoisonError::into_inner).take();
        startup.as_ref().unwrap_or(&self.background).install(work)
    }
}

/// Runs `work` on a pool of its own. A panic reaches the caller.
///
/// # Errors
/// The operating system refuses a thread.
pub(super) fn run_once<T: Send>(
    in_background: bool,
    work: impl FnOnce() -> T + Send,
) -> Result<T, ThreadPoolBuildError> {
    let threads = if in_background { processors() / 2 } else { processors() };
    Ok(pool(threads)?.install(work))
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn pool(threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    // On Linux the nice level belongs to the thread, not to the process.
    let lower_priority = |_| {
        let _ = rustix::process::nice(NICE);
    };
    ThreadPoolBuilder::new()
        .num_threads(threads.clamp(1, MAX_THREADS))
        .thread_name(|_| "compile".to_owned())
        .start_handler(lower_priority)
        .build()
}
