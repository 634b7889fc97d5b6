//! What a reconnect storm takes: computed from the processor time of a login.

use crate::measure::comparison::Comparison;
use crate::report::section::{Line, Plot, Section, Table};
use crate::targets::Kind;

/// How many devices come back at once.
const FLEETS: [u32; 5] = [10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Processors that the gate has, all its replicas together.
const CORES: [u32; 4] = [1, 4, 16, 64];

/// How long it takes until the last one has its answer, by processors.
pub(crate) fn section(comparison: &Comparison) -> Section {
    let cpu = |depth| comparison.cpu(depth, Kind::Reused).median;
    let (pipelined, alone) = (cpu(16), cpu(1));
    let mut table =
        Table::new(std::iter::once("devices".to_owned()).chain(CORES.map(|cores| format!("{cores} cores, s"))));
    let seconds = |fleet: u32, cores: u32, cpu: f64| f64::from(fleet) * cpu / 1e6 / f64::from(cores);
    for fleet in FLEETS {
        let cell = |cores| format!("{:.2} to {:.2}", seconds(fleet, cores, pipelined), seconds(fleet, cores, alone));
        table.row(std::iter::once(fleet.to_string()).chain(CORES.map(cell)));
    }
    let line = |name, cores, cpu| Line {
        name,
        points: FLEETS.map(|fleet| (f64::from(fleet), seconds(fleet, cores, cpu))).into(),
    };
    let plot = Plot {
        name: "storm".to_owned(),
        title: "A reconnect storm: seconds until the last device has its answer".to_owned(),
        x: "devices that come back at once",
        y: "seconds",
        lines: vec![
            line("1 core, one at a time", 1, alone),
            line("1 core, 16 pipelined", 1, pipelined),
            line("16 cores, one at a time", 16, alone),
            line("16 cores, 16 pipelined", 16, pipelined),
        ],
    };
    let text = format!(
        "Computed, and not measured, from the processor time that a login took the gate above: {pipelined:.1} µs where the \
         broker pipelines, {alone:.1} µs where it sends one at a time, which is {:.0} to {:.0} thousand logins a second on a core of \
         this machine. From the lower to the higher; a core is one that has nothing else to do, and brokers are taken to ask as \
         fast as they are answered.",
        1e3 / alone,
        1e3 / pipelined
    );
    Section { title: "A reconnect storm", text, tables: vec![table], plots: vec![plot] }
}
