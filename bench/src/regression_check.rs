//! `make bench-check`: fails when the gate has become slow beside the same checks compiled in.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::measure::comparison::Plan;
use crate::targets::Kind::{self, AxumNative, Fresh, Native, Reused};
use crate::thresholds::Bound;

/// Ratios of logins a second that hold on a busy machine too, each a good way under what is measured
/// (docs/PERFORMANCE.md): one, its depth, to another, no less than.
const FLOORS: [(Kind, usize, Kind, f64); 5] = [
    (Reused, 1, Native, 0.7),
    (Reused, 16, Native, 0.5),
    (Reused, 16, AxumNative, 1.3),
    (Fresh, 1, Native, 0.4),
    (Fresh, 16, Native, 0.18),
];

/// Compares, prints the table, and fails if a ratio is below its floor.
pub(crate) fn check(gate: &Path) -> Result<()> {
    let kinds = [Native, AxumNative, Reused, Fresh];
    let long = Duration::from_millis(500);
    let comparison =
        Plan { gate, kinds: &kinds, other: None, depths: &[1, 16], connections: 8, rounds: 7, long }.run()?;
    println!("{}", comparison.table());
    let mut slow = Vec::new();
    for (one, depth, other, floor) in FLOORS {
        let ratio = comparison.ratio(depth, one, other).median;
        let what = format!("{} to {}, {depth} on their way: {ratio:.2}, floor {floor}", one.name(), other.name());
        println!("{what}");
        if !Bound::AtLeast(floor).holds(ratio) {
            slow.push(what);
        }
    }
    if slow.is_empty() { Ok(()) } else { bail!("the gate has become slow: {}", slow.join("; ")) }
}
