//! Where log lines go: text for a person at a terminal, JSON for everything else, always to standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// So many lines may wait for whoever reads them. Further ones are lost, and counted: nobody waits for a log.
const MOST_WAITING: usize = 8_192;

/// How long the last lines may take to be written.
const PARTING: Duration = Duration::from_secs(1);

/// The log. What waits is written when this is dropped, unless nobody takes it.
pub(crate) struct Log(Arc<Counts>);

/// Lines, since the log began.
#[derive(Default)]
struct Counts {
    queued: AtomicU64,
    /// Those that found no room, or could not be written.
    lost: AtomicU64,
    /// Those that were queued and are no more.
    done: Mutex<u64>,
    more_done: Condvar,
}

/// Takes whole lines, each by one call, as the library writes them.
#[derive(Clone)]
struct Queue {
    lines: SyncSender<Box<[u8]>>,
    counts: Arc<Counts>,
}

impl Log {
    /// Starts logging. Other crates are heard from `warn` up: what they say below that is no operator's business.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(level: LevelFilter) -> io::Result<Self> {
        let ours = Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("mqtt_gate", level);
        let counts = Arc::<Counts>::default();
        let (lines, waiting) = sync_channel(MOST_WAITING);
        let queue = Queue { lines, counts: Arc::clone(&counts) };
        let writing = Arc::clone(&counts);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&waiting, &writing))?;
        let layer = fmt::layer().with_writer(move || queue.clone()).with_target(false);
        // A panic is a line of the log like any other. Its message is not: it could hold what must not be told.
        std::panic::set_hook(Box::new(|panic| {
            let at = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(at, "a fault of mqtt-gate, please report it");
        }));
        if io::stderr().is_terminal() {
            tracing_subscriber::registry().with(layer.with_filter(ours)).init();
        } else {
            tracing_subscriber::registry().with(layer.json().flatten_event(true).with_filter(ours)).init();
        }
        Ok(Self(counts))
    }

    /// Tells how many lines were lost.
    pub(crate) fn lost(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let counts = Arc::clone(&self.0);
        move || counts.lost.load(Relaxed)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let Counts { queued, done, more_done, .. } = &*self.0;
        let queued = queued.load(Relaxed);
        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = more_done.wait_timeout_while(done, PARTING, |done| *done < queued);
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let counted = match self.lines.try_send(line.into()) {
            Ok(()) => &self.counts.queued,
            Err(_) => &self.counts.lost,
        };
        counted.fetch_add(1, Relaxed);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines as they come, for as long as the program runs.
fn write_all(waiting: &Receiver<Box<[u8]>>, counts: &Counts) {
    for line in waiting {
        if io::stderr().lock().write_all(&line).is_err() {
            counts.lost.fetch_add(1, Relaxed);
        }
        *counts.done.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        counts.more_done.notify_all();
    }
}
