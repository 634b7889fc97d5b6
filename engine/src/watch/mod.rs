//! Watches files: one thread and one inotify instance for everything that is loaded from files.
//!
//! Events are hints. The thread looks every few seconds besides, because an event can be lost: a write through the target
//! of a symlink gives none, nor does a directory that is replaced.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

mod load;
mod notify;
mod reloadable;
mod signature;

use notify::FileWatcher;

pub use load::Load;
pub use notify::WatchError;
pub use reloadable::{Reload, Reloadable};

/// Minimum time between two looks that events cause, so that a file that is written all the time costs little.
const EVENT_DEBOUNCE: Duration = Duration::from_millis(50);

/// How long [`WatchThread`] is waited for when it is dropped. A disk that does not answer must not block a shutdown.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Something that the watch thread looks after.
pub trait Watched: Send {
    /// Files whose changes it reacts to.
    fn files(&self) -> Vec<PathBuf>;

    /// Whether [`Self::files`] has changed since the last time. Asked after each poll.
    fn take_files_changed(&mut self) -> bool {
        false
    }

    /// Looks at the files, and acts on what changed. Returns when to look again at the latest.
    fn poll(&mut self, now: Instant) -> Option<Instant>;

    /// Takes what makes the thread poll at once. Called once, before the first poll.
    fn set_waker(&mut self, _waker: Waker) {}
}

/// Makes a watch thread poll at once. Cheap to clone.
#[derive(Clone)]
pub struct Waker(SyncSender<()>);

impl Waker {
    /// Wakes the thread, and does not wait for it.
    pub fn wake(&self) {
        // One pending wake-up is as good as many.
        let _ = self.0.try_send(());
    }
}

/// A thread that polls everything [`Watched`]. It stops when this is dropped.
pub struct WatchThread {
    is_stopped: Arc<AtomicBool>,
    waker: Waker,
    /// Disconnects when the thread ends.
    ended: Receiver<()>,
}

impl WatchThread {
    /// Starts the thread. It polls at every event, and every `poll_interval`.
    ///
    /// `on_error` is called when events cannot be had; polling goes on without them.
    ///
    /// # Errors
    /// The operating system refuses the thread.
    pub fn spawn(
        mut watched: Vec<Box<dyn Watched>>,
        poll_interval: Duration,
        on_error: impl Fn(&WatchError) + Send + 'static,
    ) -> io::Result<Self> {
        let is_stopped = Arc::<AtomicBool>::default();
        let (wake, woken) = sync_channel(1);
        let waker = Waker(wake);
        for it in &mut watched {
            it.set_waker(waker.clone());
        }
        let (ending, ended) = sync_channel(0);
        let (stopped, events) = (Arc::clone(&is_stopped), waker.clone());
        let run = move || {
            let files = watched.iter().flat_map(|it| it.files());
            let watcher = FileWatcher::new(files, events, on_error);
            poll_all(watched, watcher, &woken, &stopped, poll_interval);
            drop(ending);
        };
        thread::Builder::new().name("policy-watch".to_owned()).spawn(run)?;
        Ok(Self { is_stopped, waker, ended })
    }
}

impl Drop for WatchThread {
    fn drop(&mut self) {
        self.is_stopped.store(true, Relaxed);
        self.waker.wake();
        let _ = self.ended.recv_timeout(STOP_TIMEOUT);
    }
}

fn poll_all(
    mut watched: Vec<Box<dyn Watched>>,
    mut watcher: FileWatcher,
    woken: &Receiver<()>,
    is_stopped: &AtomicBool,
    poll_interval: Duration,
) {
    while !is_stopped.load(Relaxed) {
        let now = Instant::now();
        let due = watched.iter_mut().filter_map(|it| it.poll(now)).min();
        let due = due.unwrap_or(now + poll_interval).min(now + poll_interval);
        // Every one is asked, so that no change is reported twice.
        if watched.iter_mut().fold(false, |changed, it| it.take_files_changed() | changed) {
            watcher.set_files(watched.iter().flat_map(|it| it.files()));
        }
        match woken.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(()) if !is_stopped.load(Relaxed) => thread::sleep(EVENT_DEBOUNCE.saturating_sub(now.elapsed())),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            // A directory may have been replaced since.
            Err(RecvTimeoutError::Timeout) => watcher.rearm(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::channel;

    use super::*;

    struct Probe {
        file: PathBuf,
        polled: std::sync::mpsc::Sender<()>,
    }

    impl Watched for Probe {
        fn files(&self) -> Vec<PathBuf> {
            vec![self.file.clone()]
        }

        fn poll(&mut self, _now: Instant) -> Option<Instant> {
            let _ = self.polled.send(());
            None
        }
    }

    #[test]
    fn polls_when_a_file_changes_and_stops_when_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let (polled, polls) = channel();
        let probe = Box::new(Probe { file: file.clone(), polled });
        let hour = Duration::from_secs(3600);
        let thread = WatchThread::spawn(vec![probe], hour, |error| panic!("{error}")).unwrap();
        polls.recv_timeout(Duration::from_secs(60)).unwrap();
        fs::write(&file, "new").unwrap();
        polls.recv_timeout(Duration::from_secs(60)).unwrap();
        drop(thread);
        // Its sender is gone: the thread has ended.
        while polls.recv_timeout(Duration::from_secs(60)).is_ok() {}
        assert_eq!(polls.recv(), Err(std::sync::mpsc::RecvError));
    }
}
