//! The thresholds that the gate aims for, and whether the measured figures meet them.

use Bound::{AtLeast, AtMost};
use anyhow::Result;

use crate::measure::comparison::Comparison;
use crate::measure::latency::Latency;
use crate::measure::swaps::Swaps;
use crate::report::section::{Section, Table};
use crate::targets::TargetKind::{self, AxumNative, GateFresh, GateReused, Native};

/// A limit for a measured figure.
struct Threshold {
    name: &'static str,
    bound: Bound,
    measured: f64,
}

/// The direction and the value of a limit.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn is_met(self, figure: f64) -> bool {
        match self {
            AtLeast(bound) => figure >= bound,
            AtMost(bound) => figure <= bound,
        }
    }

    fn description(self) -> String {
        match self {
            AtLeast(bound) => format!("at least {bound}"),
            AtMost(bound) => format!("at most {bound}"),
        }
    }
}

/// The measurements that the thresholds apply to.
pub(crate) struct Measurements<'a> {
    pub(crate) comparison: &'a Comparison,
    pub(crate) latency: &'a Latency,
    pub(crate) swaps: &'a Swaps,
    /// The time from process start to the first response, in milliseconds.
    pub(crate) startup: f64,
}

impl Measurements<'_> {
    /// Lists all thresholds, missed ones included.
    pub(crate) fn section(&self) -> Result<Section> {
        let mut table = Table::new(["", "threshold", "measured", ""]);
        for Threshold { name, bound, measured } in self.thresholds()? {
            let result = if bound.is_met(measured) { "met" } else { "missed" };
            table.row([name.to_owned(), bound.description(), format!("{measured:.2}"), result.to_owned()]);
        }
        let text = format!(
            "The figures that the gate aims for. Reused and fresh are the two configurations of the gate. Memory \
             is that of the gate with reused instances, and its growth is measured over {} swaps.",
            self.swaps.count()
        );
        Ok(Section { title: "Thresholds", text, tables: vec![table], plots: Vec::new() })
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn thresholds(&self) -> Result<[Threshold; 13]> {
        let Self { comparison, latency, swaps, startup } = *self;
        let rate = |depth, kind: TargetKind, baseline| comparison.rate_ratio(depth, kind, baseline).median;
        let memory = comparison.memory(GateReused)?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let threshold = |name, bound, measured| Threshold { name, bound, measured };
        Ok([
            threshold("reused to native, one at a time", AtLeast(0.95), rate(1, GateReused, Native)),
            threshold("reused to native, 16 pipelined", AtLeast(0.8), rate(16, GateReused, Native)),
            threshold("reused to axum-native, one at a time", AtLeast(1.0), rate(1, GateReused, AxumNative)),
            threshold("reused to axum-native, 16 pipelined", AtLeast(1.0), rate(16, GateReused, AxumNative)),
            threshold("fresh to native, one at a time", AtLeast(0.75), rate(1, GateFresh, Native)),
            threshold("fresh to native, 16 pipelined", AtLeast(0.35), rate(16, GateFresh, Native)),
            threshold(
                "p99.9 at half load, reused to native",
                AtMost(1.3),
                latency.p999_ratio(GateReused, Native).median,
            ),
            threshold("p99.9, swapping to steady", AtMost(2.0), swaps.p999_ratio().median),
            threshold("process start to first response, ms", AtMost(150.0), startup),
            threshold("file rename to activation, under load, ms", AtMost(500.0), swaps.duration_under_load.median),
            threshold("idle memory, MiB", AtMost(40.0), mib(memory.idle)),
            threshold("peak memory, MiB", AtMost(80.0), mib(memory.peak)),
            threshold("memory growth after the swaps under load, MiB", AtMost(2.0), swaps.memory_growth()),
        ])
    }
}
