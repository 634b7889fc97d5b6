//! Where log lines go: text for a person at a terminal, JSON for everything else, always to standard error.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Starts logging. Other crates are heard from `warn` up: what they say below that is no operator's business.
pub(crate) fn start(level: LevelFilter) {
    let ours = Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("mqtt_gate", level);
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    // A panic is a line of the log like any other. Its message is not: it could hold what must not be told.
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "a fault of mqtt-gate, please report it");
    }));
    if io::stderr().is_terminal() {
        tracing_subscriber::registry().with(lines.with_filter(ours)).init();
    } else {
        tracing_subscriber::registry().with(lines.json().flatten_event(true).with_filter(ours)).init();
    }
}
