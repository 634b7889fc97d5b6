//! All targets side by side, in alternating rounds, one login at a time and pipelined.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{iter, thread};

use anyhow::{Context, Result};

use crate::load::login::Login;
use crate::load::url::Url;
use crate::load::{Load, Pace};
use crate::measure::run::Run;
use crate::measure::summary::Summary;
use crate::report::section::{Section, Table};
use crate::targets::{Setup, Target, TargetKind};

/// The parameters of a comparison.
pub(crate) struct Plan<'a> {
    /// The path of the gate's program.
    pub(crate) gate: &'a Path,
    pub(crate) kinds: &'a [TargetKind],
    /// A server that is already running, to compare with the others.
    pub(crate) external: Option<&'a Url>,
    /// Logins in flight per connection. Each depth is measured by itself.
    pub(crate) depths: &'a [usize],
    pub(crate) connections: usize,
    pub(crate) rounds: usize,
    /// The duration of each run.
    pub(crate) duration: Duration,
}

/// The figures of a comparison.
pub(crate) struct Comparison {
    /// The runs by depth and target.
    runs: BTreeMap<(usize, TargetKind), Vec<Run>>,
    memory: BTreeMap<TargetKind, Memory>,
    description: String,
}

/// The resident memory of a target, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Before the load.
    pub(crate) idle: u64,
    pub(crate) peak: u64,
    /// After the load, when idle instances have been dropped.
    after: u64,
}

/// How long instances of the gate are kept while they are idle: two intervals of ten seconds at most.
pub(crate) const RELEASE_WAIT: Duration = Duration::from_secs(21);

impl Plan<'_> {
    pub(crate) fn run(&self) -> Result<Comparison> {
        let login = Login::new(1)?;
        let mut targets = Vec::new();
        for &kind in self.kinds {
            targets.push(Target::start(self.gate, kind, &Setup::default())?);
        }
        targets.extend(self.external.map(|url| Target::external(url.address)));
        let external_login = self.external.map(|url| Login::for_path(1, &url.path)).transpose()?;
        let idle = targets.iter().map(Target::memory).collect::<Result<Vec<_>>>()?;
        let mut runs = BTreeMap::<_, Vec<_>>::new();
        for round in 1..=self.rounds {
            eprintln!("side by side: round {round} of {}", self.rounds);
            for &depth in self.depths {
                for target in &targets {
                    let login =
                        external_login.as_ref().filter(|_| target.kind == TargetKind::External).unwrap_or(&login);
                    let load = Load { login, connections: self.connections, pace: Pace::Depth(depth) };
                    runs.entry((depth, target.kind)).or_default().push(Run::measure(target, &load, self.duration)?);
                }
            }
        }
        let mut memory = BTreeMap::new();
        thread::sleep(RELEASE_WAIT);
        for (target, idle) in targets.iter().zip(idle) {
            memory.insert(target.kind, Memory { idle, peak: target.peak_memory()?, after: target.memory()? });
        }
        let description = format!(
            "{} connections; {} rounds with one run of {} s per target. Figures are medians, with minimum and \
             maximum. Ratios compare the runs of a round.",
            self.connections,
            self.rounds,
            self.duration.as_secs_f64()
        );
        Ok(Comparison { runs, memory, description })
    }
}

impl Comparison {
    fn runs(&self, depth: usize, kind: TargetKind) -> &[Run] {
        self.runs.get(&(depth, kind)).map_or(&[], Vec::as_slice)
    }

    /// Returns the rate of `kind` relative to that of `baseline`.
    pub(crate) fn rate_ratio(&self, depth: usize, kind: TargetKind, baseline: TargetKind) -> Summary {
        Summary::of_ratios(self.runs(depth, kind), self.runs(depth, baseline), |run| run.rate)
    }

    /// Returns the logins per second.
    pub(crate) fn rate(&self, depth: usize, kind: TargetKind) -> Summary {
        Summary::of_runs(self.runs(depth, kind), |run| run.rate)
    }

    /// Returns the processor time per login, in microseconds.
    pub(crate) fn cpu(&self, depth: usize, kind: TargetKind) -> Summary {
        Summary::of_runs(self.runs(depth, kind), |run| run.cpu)
    }

    pub(crate) fn memory(&self, kind: TargetKind) -> Result<Memory> {
        self.memory.get(&kind).copied().with_context(|| format!("{} was not measured", kind.name()))
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new([
            "in flight",
            "target",
            "thousand logins per second",
            "ratio to native",
            "CPU per login, µs",
            "p50, µs",
            "p99.9, µs",
        ]);
        for ((depth, kind), runs) in &self.runs {
            let summary = |figure: fn(&Run) -> f64| Summary::of_runs(runs, figure);
            table.row([
                depth.to_string(),
                kind.name().to_owned(),
                format!("{:.0}", summary(|run| run.rate / 1e3)),
                format!("{:.2}", self.rate_ratio(*depth, *kind, TargetKind::Native)),
                if *kind == TargetKind::External { String::new() } else { format!("{:.1}", summary(|run| run.cpu)) },
                format!("{:.0}", summary(Run::p50)),
                format!("{:.0}", summary(Run::p999)),
            ]);
        }
        table
    }

    pub(crate) fn section(&self) -> Section {
        let mut memory = Table::new(["target", "memory before, MiB", "peak, MiB", "after, MiB"]);
        for (kind, Memory { idle, peak, after }) in
            self.memory.iter().filter(|(kind, _)| **kind != TargetKind::External)
        {
            let cells = [idle, peak, after].map(|bytes| (bytes >> 20).to_string());
            memory.row(iter::once(kind.name().to_owned()).chain(cells));
        }
        Section {
            title: "Side by side",
            text: self.description.clone(),
            tables: vec![self.table(), memory],
            plots: Vec::new(),
        }
    }
}
