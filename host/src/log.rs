//! Where log lines go: text for a person at a terminal, JSON for everything else, always to standard error.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// So many lines may wait for whoever reads them. Further ones are lost, and counted: nobody waits for a log.
const MOST_WAITING: usize = 8_192;

/// The log. What waits is written when this is dropped, as far as somebody takes it.
pub(crate) struct Log {
    lost: ErrorCounter,
    _writer: WorkerGuard,
}

impl Log {
    /// Starts logging. Other crates are heard from `warn` up: what they say below that is no operator's business.
    pub(crate) fn start(level: LevelFilter) -> Self {
        let ours = Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("mqtt_gate", level);
        let lines = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MOST_WAITING).thread_name("log");
        let (lines, writer) = lines.finish(io::stderr());
        let lost = lines.error_counter();
        let layer = fmt::layer().with_writer(lines).with_target(false);
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
        Self { lost, _writer: writer }
    }

    /// Tells how many lines nobody took.
    pub(crate) fn lost(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let lost = self.lost.clone();
        move || lost.dropped_lines() as u64
    }
}
