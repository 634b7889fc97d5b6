//! The duration of a reconnect storm, computed from the processor time per login.

use std::iter;

use crate::measure::comparison::Comparison;
use crate::report::section::{Line, Plot, Section, Table};
use crate::targets::TargetKind;

/// Numbers of devices that reconnect at once.
const FLEETS: [u32; 5] = [10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Numbers of cores, over all replicas of the gate.
const CORES: [u32; 4] = [1, 4, 16, 64];

/// Computes the time until the last device has its response, for each fleet and number of cores.
pub(crate) fn section(comparison: &Comparison) -> Section {
    let cpu = |depth| comparison.cpu(depth, TargetKind::GateReused).median;
    let (pipelined, sequential) = (cpu(16), cpu(1));
    let seconds = |fleet: u32, cores: u32, cpu: f64| f64::from(fleet) * cpu / 1e6 / f64::from(cores);
    let heading = |cores| format!("{cores} core{}, s", if cores == 1 { "" } else { "s" });
    let mut table = Table::new(iter::once("devices".to_owned()).chain(CORES.map(heading)));
    for fleet in FLEETS {
        let cell =
            |cores| format!("{:.2} to {:.2}", seconds(fleet, cores, pipelined), seconds(fleet, cores, sequential));
        table.row(iter::once(fleet.to_string()).chain(CORES.map(cell)));
    }
    let line = |name, cores, cpu| Line {
        name,
        points: FLEETS.map(|fleet| (f64::from(fleet), seconds(fleet, cores, cpu))).into(),
    };
    let plot = Plot {
        name: "storm".to_owned(),
        title: "A reconnect storm: seconds until the last device has its response".to_owned(),
        x: "devices that reconnect at once",
        y: "seconds",
        lines: vec![
            line("1 core, one at a time", 1, sequential),
            line("1 core, 16 pipelined", 1, pipelined),
            line("16 cores, one at a time", 16, sequential),
            line("16 cores, 16 pipelined", 16, pipelined),
        ],
    };
    let text = format!(
        "Seconds until the last device has its response. These figures are computed from the processor time per \
         login in the side-by-side table, not measured: {pipelined:.1} µs with pipelining, {sequential:.1} µs with \
         one login at a time. One core of this machine therefore handles {:.0} to {:.0} thousand logins per \
         second. Each cell gives the time with pipelining and the time without it. The computation assumes that \
         the cores do nothing else, and that the broker sends the next login as soon as it has a response.",
        1e3 / sequential,
        1e3 / pipelined
    );
    Section { title: "A reconnect storm", text, tables: vec![table], plots: vec![plot] }
}
