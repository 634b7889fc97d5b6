//! Gates with different configurations, measured in turn and compared with the first of them.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::run::Run;
use crate::measure::summary::Summary;
use crate::report::section::Table;
use crate::targets::{Setup, Target, TargetKind};

/// Logins in flight per connection. Each depth is measured by itself.
const DEPTHS: [usize; 2] = [1, 16];

/// The number of connections.
pub(crate) const CONNECTIONS: usize = 8;

/// A gate with one of the configurations.
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) target: Target,
    login: Login,
    /// The runs at each of [`DEPTHS`].
    runs: [Vec<Run>; 2],
}

impl Variant {
    /// Starts a gate. `login` is the load on it.
    pub(crate) fn start(
        gate: &Path,
        kind: TargetKind,
        name: impl Into<String>,
        extra_config: String,
        login: Login,
    ) -> Result<Self> {
        let setup = Setup { extra_config, ..Setup::default() };
        let target = Target::start(gate, kind, &setup)?;
        Ok(Self { name: name.into(), target, login, runs: Default::default() })
    }
}

/// Measures all variants in each round, so that a disturbance of the machine slows each of them.
pub(crate) fn measure(title: &str, variants: &mut [Variant], rounds: usize, duration: Duration) -> Result<()> {
    for round in 1..=rounds {
        eprintln!("{title}: round {round} of {rounds}");
        for (at, depth) in DEPTHS.into_iter().enumerate() {
            for Variant { target, login, runs, .. } in &mut *variants {
                let load = Load { login, connections: CONNECTIONS, pace: Pace::Depth(depth) };
                let run = Run::measure(target, &load, duration)?;
                runs.get_mut(at).into_iter().for_each(|runs| runs.push(run));
            }
        }
    }
    Ok(())
}

/// Creates a table whose ratios compare the runs of a round with those of the first variant.
pub(crate) fn table(heading: &str, variants: &[Variant]) -> Table {
    let mut table = Table::new([
        heading,
        "thousand logins per second, one at a time",
        "ratio to the first",
        "CPU per login, µs",
        "16 pipelined",
        "ratio to the first",
        "CPU per login, µs",
    ]);
    for variant in variants {
        let mut cells = vec![variant.name.clone()];
        for (runs, baseline) in variant.runs.iter().zip(variants.first().map_or(&variant.runs, |first| &first.runs)) {
            cells.push(format!("{:.1}", Summary::of_runs(runs, |run| run.rate / 1e3)));
            cells.push(format!("{:.2}", Summary::of_ratios(runs, baseline, |run| run.rate)));
            cells.push(format!("{:.1}", Summary::of_runs(runs, |run| run.cpu)));
        }
        table.row(cells);
    }
    table
}
