//! The log on standard error: text for a terminal, JSON otherwise.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::line_writer::{LineWriter, WriteBatch};

/// Lines that may wait for the reader of standard error: a few seconds of a busy gate, and a few megabytes.
const MAX_QUEUED: usize = 8_192;

/// The log of the process. Dropping it writes the lines that are queued, for at most one second.
pub struct Log(Arc<LineWriter<Box<[u8]>>>);

impl Log {
    /// Starts the log. Dependencies are logged from level `warn` up.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(level: LevelFilter) -> io::Result<Self> {
        let targets = Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("mqtt_gate", level);
        let writer = Arc::new(LineWriter::spawn("log", MAX_QUEUED, Stderr)?);
        let layer = fmt::layer().with_writer(Arc::clone(&writer)).with_target(false);
        // Log a panic without its message, which could contain a secret.
        std::panic::set_hook(Box::new(|panic| {
            let at = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(at, "a fault of mqtt-gate, please report it");
        }));
        if io::stderr().is_terminal() {
            tracing_subscriber::registry().with(layer.with_filter(targets)).init();
        } else {
            tracing_subscriber::registry().with(layer.json().flatten_event(true).with_filter(targets)).init();
        }
        Ok(Self(writer))
    }

    /// Counts lines that were dropped because the queue was full, or that could not be written.
    #[must_use]
    pub fn dropped_lines(&self) -> Arc<AtomicU64> {
        Arc::clone(self.0.dropped())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.drain();
    }
}

/// Receives each line whole, in one call, from `tracing-subscriber`.
impl Write for &LineWriter<Box<[u8]>> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.send(line.into());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Stderr;

impl WriteBatch<Box<[u8]>> for Stderr {
    fn write_batch(&mut self, lines: impl Iterator<Item = Box<[u8]>>, dropped: &AtomicU64) {
        for line in lines {
            if io::stderr().lock().write_all(&line).is_err() {
                dropped.fetch_add(1, Relaxed);
            }
        }
    }
}
