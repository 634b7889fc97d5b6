//! `make bench-check`: fails if the gate has become slow relative to the same checks compiled in.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::measure::comparison::Plan;
use crate::targets::TargetKind::{self, AxumNative, GateFresh, GateReused, Native};
use crate::thresholds::Bound;

/// A lower bound for the rate of a target relative to that of another.
struct MinRatio {
    kind: TargetKind,
    depth: usize,
    baseline: TargetKind,
    min: f64,
}

/// The bounds are well below the figures of `docs/PERFORMANCE.md`, so that the check passes on a busy machine.
const MIN_RATIOS: [MinRatio; 5] = [
    MinRatio { kind: GateReused, depth: 1, baseline: Native, min: 0.7 },
    MinRatio { kind: GateReused, depth: 16, baseline: Native, min: 0.5 },
    MinRatio { kind: GateReused, depth: 16, baseline: AxumNative, min: 1.3 },
    MinRatio { kind: GateFresh, depth: 1, baseline: Native, min: 0.4 },
    MinRatio { kind: GateFresh, depth: 16, baseline: Native, min: 0.18 },
];

/// Runs the comparison, prints it, and fails if a ratio is below its minimum.
pub(crate) fn check(gate: &Path) -> Result<()> {
    let plan = Plan {
        gate,
        kinds: &[Native, AxumNative, GateReused, GateFresh],
        external: None,
        depths: &[1, 16],
        connections: 8,
        rounds: 7,
        duration: Duration::from_millis(500),
    };
    let comparison = plan.run()?;
    println!("{}", comparison.table());
    let mut failures = Vec::new();
    for MinRatio { kind, depth, baseline, min } in MIN_RATIOS {
        let ratio = comparison.rate_ratio(depth, kind, baseline).median;
        let line = format!("{} to {}, {depth} in flight: {ratio:.2}, minimum {min}", kind.name(), baseline.name());
        println!("{line}");
        if !Bound::AtLeast(min).is_met(ratio) {
            failures.push(line);
        }
    }
    if failures.is_empty() { Ok(()) } else { bail!("the gate has become slow: {}", failures.join("; ")) }
}
