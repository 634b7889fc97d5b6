//! Latency at half load: logins are sent at a fixed rate, whether or not earlier ones have a response.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::run::Run;
use crate::measure::summary::Summary;
use crate::report::section::{Section, Table};
use crate::targets::{Setup, Target, TargetKind};

/// The latency of each target at the same rate.
pub(crate) struct Latency {
    /// Logins per second.
    rate: f64,
    rounds: usize,
    duration: Duration,
    runs: BTreeMap<TargetKind, Vec<Run>>,
}

impl Latency {
    /// Measures each target in turn at `rate` logins per second.
    pub(crate) fn measure(gate: &Path, rate: f64, rounds: usize, duration: Duration) -> Result<Self> {
        let login = Login::new(1)?;
        let load = Load { login: &login, connections: 8, pace: Pace::Rate(rate) };
        let mut targets = Vec::new();
        for kind in TargetKind::WITH_POLICY {
            targets.push(Target::start(gate, kind, &Setup::default())?);
        }
        let mut runs = BTreeMap::<_, Vec<_>>::new();
        for round in 1..=rounds {
            eprintln!("latency: round {round} of {rounds}");
            for target in &targets {
                runs.entry(target.kind).or_default().push(Run::measure(target, &load, duration)?);
            }
        }
        Ok(Self { rate, rounds, duration, runs })
    }

    /// Returns the p99.9 of `kind` relative to that of `baseline`.
    pub(crate) fn p999_ratio(&self, kind: TargetKind, baseline: TargetKind) -> Summary {
        let runs = |kind| self.runs.get(&kind).map_or(&[][..], Vec::as_slice);
        Summary::of_ratios(runs(kind), runs(baseline), Run::p999)
    }

    pub(crate) fn section(&self) -> Section {
        let mut table = Table::new([
            "target",
            "p50, µs",
            "p99, µs",
            "p99.9, µs",
            "p99.99, µs",
            "p99.9, ratio to native",
            "CPU per login, µs",
        ]);
        for (kind, runs) in &self.runs {
            let summary = |figure: fn(&Run) -> f64| Summary::of_runs(runs, figure);
            table.row([
                kind.name().to_owned(),
                format!("{:.0}", summary(Run::p50)),
                format!("{:.0}", summary(Run::p99)),
                format!("{:.0}", summary(Run::p999)),
                format!("{:.0}", summary(Run::p9999)),
                format!("{:.2}", self.p999_ratio(*kind, TargetKind::Native)),
                format!("{:.1}", summary(|run| run.cpu)),
            ]);
        }
        let text = format!(
            "{:.0} thousand logins per second over 8 connections, half of the gate's rate with one login at a \
             time; {} rounds of {} s. Logins come due in steps of a millisecond. The latency of a delayed login \
             counts from the time at which it was due.",
            self.rate / 1e3,
            self.rounds,
            self.duration.as_secs_f64()
        );
        Section { title: "Latency at half load", text, tables: vec![table], plots: Vec::new() }
    }
}
