//! The threads that compile a policy.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// How far compiling stands back, in the system's steps from 0 to 19: workers come first by a factor of nine, and on a
/// machine that is busy without end a swap still gets done.
const NICE: i32 = 10;

/// The most threads that compile.
const MOST: usize = 4;

/// Threads that give way to those that answer.
pub(crate) struct Compilers {
    /// On every processor, up to [`MOST`]: before anybody can log in.
    first: Mutex<Option<ThreadPool>>,
    /// On half of them: a worker that wakes up finds another one free.
    later: ThreadPool,
}

impl Compilers {
    /// # Errors
    /// The system refuses a thread.
    pub(crate) fn new() -> Result<Self, ThreadPoolBuildError> {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self { first: Mutex::new(Some(pool(processors)?)), later: pool(processors / 2)? })
    }

    /// Does this on them, and waits for it. A panic goes on to the caller.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.as_ref().unwrap_or(&self.later).install(work)
    }
}

fn pool(count: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    // To Linux, this goes for the thread that says it.
    let give_way = |_| {
        let _ = rustix::process::nice(NICE);
    };
    let name = |_| "compiler".to_owned();
    ThreadPoolBuilder::new().num_threads(count.clamp(1, MOST)).thread_name(name).start_handler(give_way).build()
}
