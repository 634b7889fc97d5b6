//! The contestants side by side: in turn, several rounds, one login at a time and many.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::load::login::Login;
use crate::load::url::Url;
use crate::load::{Load, Pace};
use crate::measure::run::{Spread, Turn};
use crate::report::section::{Section, Table};
use crate::targets::{Contestant, Kind, Setup};

/// How the contestants are compared.
pub(crate) struct Plan<'a> {
    /// The gate, as a program.
    pub(crate) gate: &'a Path,
    pub(crate) kinds: &'a [Kind],
    /// A server that is there already.
    pub(crate) other: Option<&'a Url>,
    pub(crate) depths: &'a [usize],
    pub(crate) connections: usize,
    pub(crate) rounds: usize,
    /// Of each turn.
    pub(crate) long: Duration,
}

/// What they came to.
pub(crate) struct Comparison {
    turns: BTreeMap<(usize, Kind), Vec<Turn>>,
    /// Bytes, at rest and the most.
    memory: BTreeMap<Kind, (u64, u64)>,
    about: String,
}

impl Plan<'_> {
    pub(crate) fn run(&self) -> Result<Comparison> {
        let login = Login::signed_by_last(1)?;
        let mut contestants = Vec::new();
        for &kind in self.kinds {
            contestants.push(Contestant::start(self.gate, kind, &Setup::default())?);
        }
        contestants.extend(self.other.map(|url| Contestant::given(url.address)));
        let other = self.other.map(|url| Login::to(1, &url.target)).transpose()?;
        let mut memory = BTreeMap::new();
        for contestant in &contestants {
            memory.insert(contestant.kind, (contestant.memory()?, 0));
        }
        let mut turns = BTreeMap::<_, Vec<_>>::new();
        for round in 1..=self.rounds {
            eprintln!("side by side: round {round} of {}", self.rounds);
            for &depth in self.depths {
                for contestant in &contestants {
                    let login = other.as_ref().filter(|_| contestant.kind == Kind::Other).unwrap_or(&login);
                    let load = Load { login, connections: self.connections, pace: Pace::Depth(depth) };
                    let turn = Turn::of(contestant, &load, self.long)?;
                    turns.entry((depth, contestant.kind)).or_default().push(turn);
                }
            }
        }
        for contestant in &contestants {
            memory.entry(contestant.kind).or_default().1 = contestant.most_memory()?;
        }
        let about = format!(
            "{} connections; {} rounds in which each has a turn of {} s. Medians, with the lowest and the highest; ratios are \
             taken within a round.",
            self.connections,
            self.rounds,
            self.long.as_secs_f64()
        );
        Ok(Comparison { turns, memory, about })
    }
}

impl Comparison {
    fn turns(&self, depth: usize, kind: Kind) -> &[Turn] {
        self.turns.get(&(depth, kind)).map_or(&[], Vec::as_slice)
    }

    /// Logins a second of one contestant to those of another.
    pub(crate) fn ratio(&self, depth: usize, one: Kind, other: Kind) -> Spread {
        Spread::of_ratios(self.turns(depth, one), self.turns(depth, other), |turn| turn.rate)
    }

    /// Logins a second.
    pub(crate) fn rate(&self, depth: usize, kind: Kind) -> Spread {
        Spread::of(self.turns(depth, kind).iter().map(|turn| turn.rate))
    }

    /// Processor time of a login, in microseconds.
    pub(crate) fn cpu(&self, depth: usize, kind: Kind) -> Spread {
        Spread::of(self.turns(depth, kind).iter().map(|turn| turn.cpu))
    }

    /// Bytes at rest, and the most that there were.
    pub(crate) fn memory(&self, kind: Kind) -> Result<(u64, u64)> {
        self.memory.get(&kind).copied().context("no such contestant")
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new([
            "on their way",
            "contestant",
            "thousand logins a second",
            "to native",
            "CPU a login, µs",
            "p50, µs",
            "p99.9, µs",
        ]);
        for ((depth, kind), turns) in &self.turns {
            let of = |figure: fn(&Turn) -> f64| Spread::of(turns.iter().map(figure));
            table.row([
                depth.to_string(),
                kind.name().to_owned(),
                format!("{:.0}", of(|turn| turn.rate / 1e3)),
                format!("{:.2}", self.ratio(*depth, *kind, Kind::Native)),
                if *kind == Kind::Other { String::new() } else { format!("{:.1}", of(|turn| turn.cpu)) },
                format!("{:.0}", of(|turn| turn.latency[0])),
                format!("{:.0}", of(|turn| turn.latency[2])),
            ]);
        }
        table
    }

    pub(crate) fn section(&self) -> Section {
        let mut memory = Table::new(["contestant", "memory at rest, MiB", "the most that it had, MiB"]);
        for (kind, (rest, load)) in self.memory.iter().filter(|(kind, _)| **kind != Kind::Other) {
            memory.row([kind.name().to_owned(), (rest >> 20).to_string(), (load >> 20).to_string()]);
        }
        Section {
            title: "Side by side",
            text: self.about.clone(),
            tables: vec![self.table(), memory],
            plots: Vec::new(),
        }
    }
}
