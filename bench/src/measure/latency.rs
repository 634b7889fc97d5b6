//! Latency at half load: logins come at a rate, whether or not the ones before have been answered.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::run::{Spread, Turn};
use crate::report::section::{Section, Table};
use crate::targets::{Contestant, Kind, Setup};

const CONTESTANTS: [Kind; 4] = [Kind::Native, Kind::AxumNative, Kind::Reused, Kind::Fresh];

/// The turns of each contestant at the same rate.
pub(crate) struct Tails {
    rate: f64,
    rounds: usize,
    long: Duration,
    turns: BTreeMap<Kind, Vec<Turn>>,
}

impl Tails {
    /// Has each in turn answer so many logins a second.
    pub(crate) fn measure(gate: &Path, rate: f64, rounds: usize, long: Duration) -> Result<Self> {
        let login = Login::signed_by_last(1)?;
        let load = Load { login: &login, connections: 8, pace: Pace::Rate(rate) };
        let mut contestants = Vec::new();
        for kind in CONTESTANTS {
            contestants.push(Contestant::start(gate, kind, &Setup::default())?);
        }
        let mut turns = BTreeMap::<_, Vec<_>>::new();
        for round in 1..=rounds {
            eprintln!("latency at a rate: round {round} of {rounds}");
            for contestant in &contestants {
                turns.entry(contestant.kind).or_default().push(Turn::of(contestant, &load, long)?);
            }
        }
        Ok(Self { rate, rounds, long, turns })
    }

    /// p99.9 of one contestant to that of another.
    pub(crate) fn ratio(&self, one: Kind, other: Kind) -> Spread {
        let turns = |kind| self.turns.get(&kind).map_or(&[][..], Vec::as_slice);
        Spread::of_ratios(turns(one), turns(other), |turn| turn.latency[2])
    }

    pub(crate) fn section(&self) -> Section {
        let mut table = Table::new([
            "contestant",
            "p50, µs",
            "p99, µs",
            "p99.9, µs",
            "p99.99, µs",
            "p99.9 to native",
            "CPU a login, µs",
        ]);
        for (kind, turns) in &self.turns {
            let of = |figure: &dyn Fn(&Turn) -> f64| Spread::of(turns.iter().map(figure));
            let mut cells = vec![kind.name().to_owned()];
            cells.extend(
                (0..4).map(|at| format!("{:.0}", of(&|turn| turn.latency.get(at).copied().unwrap_or(f64::NAN)))),
            );
            cells.push(format!("{:.2}", self.ratio(*kind, Kind::Native)));
            cells.push(format!("{:.1}", of(&|turn| turn.cpu)));
            table.row(cells);
        }
        let text = format!(
            "{:.0} thousand logins a second over 8 connections, half of what the gate answers one at a time, in steps of a \
             millisecond; {} rounds of {} s. A login that waits behind a slow one counts from the moment at which it should have \
             been sent.",
            self.rate / 1e3,
            self.rounds,
            self.long.as_secs_f64()
        );
        Section { title: "Latency at half load", text, tables: vec![table], plots: Vec::new() }
    }
}
