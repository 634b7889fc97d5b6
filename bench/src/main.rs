//! `make bench`: compares the gate with servers that have the same checks compiled in.
//!
//! All targets are measured side by side in one run, and every response is checked. The report is
//! `docs/PERFORMANCE.md`.
//!
//! ```text
//! cli.rs               the sub-commands, and the order of the measurements
//! regression_check.rs  `make bench-check`: minimum ratios
//! thresholds.rs        the figures that the gate aims for
//!
//! measure/             one file per section of the report
//!   run.rs             one target under one load
//!   variants.rs        gates with different configurations, in turn
//!   summary.rs         minimum, median and maximum of several runs
//!
//! targets/             the servers
//!   target.rs          a server process: start, probe, processor time, memory
//!   proxy.rs           wasmtime, jco and Envoy
//!   evaluators.rs      native evaluators behind the gate's serving code
//!   axum_native.rs     an ordinary axum handler
//!   hyper_baseline.rs  hyper with a constant response
//!
//! soak/                `make soak`: a gate through swaps, faults and restarts, with every answer judged
//!
//! load/                the client: a closed loop, or a fixed rate
//! report/              Markdown and SVG
//! ```
//!
//! `load` and `report` import neither each other nor the rest; `targets` imports `load`; `measure` imports all three.

use anyhow::Result;
use clap::Parser;

mod cli;
mod load;
mod measure;
mod regression_check;
mod report;
mod soak;
mod targets;
mod thresholds;

fn main() -> Result<()> {
    cli::Cli::parse().run()
}
