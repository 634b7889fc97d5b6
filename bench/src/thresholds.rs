//! What the gate has to hold, and whether it did.

use crate::measure::comparison::Comparison;
use crate::measure::latency::Tails;
use crate::measure::swaps::Swaps;
use crate::report::section::{Section, Table};
use crate::targets::Kind;

/// One thing to hold.
struct Goal {
    what: &'static str,
    bound: Bound,
    measured: f64,
}

/// Which way a figure may not go.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("at least {bound}"),
            Self::AtMost(bound) => format!("at most {bound}"),
        }
    }
}

/// What the goals are about.
pub(crate) struct Measured<'a> {
    pub(crate) comparison: &'a Comparison,
    pub(crate) tails: &'a Tails,
    pub(crate) swaps: &'a Swaps,
    /// From the start of the program to its first answer, in milliseconds.
    pub(crate) ready: f64,
}

impl Measured<'_> {
    /// The goals and how the figures stand to them, missed ones included.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn section(&self) -> anyhow::Result<Section> {
        use Bound::{AtLeast, AtMost};
        let Self { comparison, tails, swaps, ready } = *self;
        let ratio = |depth, one, other| comparison.ratio(depth, one, other).median;
        let (rest, load) = comparison.memory(Kind::Reused)?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let goal = |what, bound, measured| Goal { what, bound, measured };
        let goals = [
            goal("reused to native, one at a time", AtLeast(0.95), ratio(1, Kind::Reused, Kind::Native)),
            goal("reused to native, 16 pipelined", AtLeast(0.8), ratio(16, Kind::Reused, Kind::Native)),
            goal("reused to axum-native, one at a time", AtLeast(1.0), ratio(1, Kind::Reused, Kind::AxumNative)),
            goal("reused to axum-native, 16 pipelined", AtLeast(1.0), ratio(16, Kind::Reused, Kind::AxumNative)),
            goal("fresh to native, one at a time", AtLeast(0.75), ratio(1, Kind::Fresh, Kind::Native)),
            goal("fresh to native, 16 pipelined", AtLeast(0.35), ratio(16, Kind::Fresh, Kind::Native)),
            goal("p99.9 at half load, reused to native", AtMost(1.3), tails.ratio(Kind::Reused, Kind::Native).median),
            goal("p99.9 while swapping, to steady", AtMost(2.0), swaps.ratio().median),
            goal("from start to the first answer, ms", AtMost(150.0), ready),
            goal("from the file in its place to serving, under load, ms", AtMost(500.0), swaps.under_load.median),
            goal("memory at rest, MiB", AtMost(40.0), mib(rest)),
            goal("the most memory that it had, MiB", AtMost(80.0), mib(load)),
            goal("memory grown after the swaps under load, MiB", AtMost(2.0), swaps.growth()),
        ];
        let mut table = Table::new(["", "goal", "measured", ""]);
        for goal in goals {
            let held = if goal.bound.holds(goal.measured) { "held" } else { "missed" };
            table.row([goal.what.to_owned(), goal.bound.shown(), format!("{:.2}", goal.measured), held.to_owned()]);
        }
        let text = format!("What is aimed at; {} swaps.", swaps.count());
        Ok(Section { title: "Goals", text, tables: vec![table], plots: Vec::new() })
    }
}
