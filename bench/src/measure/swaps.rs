//! Swapping: what it does to those who log in meanwhile, how long it takes, and whether it leaves anything behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::run::{Spread, Turn};
use crate::report::section::{Section, Table};
use crate::targets::{Contestant, Kind, Setup};

/// What swapping came to.
pub(crate) struct Swaps {
    rate: f64,
    /// In each round, without swaps and with them.
    rounds: Vec<[Turn; 2]>,
    /// From the file in its place to the policy in service, in milliseconds, under the load.
    pub(crate) under_load: Spread,
    /// The same, without it.
    at_rest: Spread,
    swaps_under_load: usize,
    /// Memory in MiB by the number of swaps.
    memory: Vec<(usize, f64)>,
}

/// Rounds of load without swaps and with them.
const ROUNDS: usize = 5;

/// How long one swap may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often to ask whether it has happened.
const STEP: Duration = Duration::from_millis(2);

impl Swaps {
    /// Swaps under a load of so many logins a second, then on until there were so many swaps. `component` is the default
    /// policy as a file.
    pub(crate) fn measure(gate: &Path, component: &Path, rate: f64, long: Duration, most: usize) -> Result<Self> {
        let mut operator = Operator::begin(component)?;
        let setup = Setup { policy: Some(operator.file.clone()), ..Setup::default() };
        let contestant = Contestant::start(gate, Kind::Reused, &setup)?;
        let login = Login::signed_by_last(1)?;
        let load = Load { login: &login, connections: 8, pace: Pace::Rate(rate) };
        let (mut rounds, mut under_load) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            eprintln!("swaps: round {round} of {ROUNDS}, without any and one after another");
            let steady = Turn::of(&contestant, &load, long)?;
            let over = AtomicBool::new(false);
            let (swapping, took) = thread::scope(|scope| {
                let swaps = scope.spawn(|| {
                    let mut took = Vec::new();
                    while !over.load(Relaxed) {
                        took.push(operator.swap(&contestant)?);
                    }
                    Ok::<_, anyhow::Error>(took)
                });
                let swapping = Turn::of(&contestant, &load, long);
                over.store(true, Relaxed);
                let took = swaps.join().unwrap_or_else(|_| bail!("the swapping panicked"))?;
                Ok::<_, anyhow::Error>((swapping?, took))
            })?;
            rounds.push([steady, swapping]);
            under_load.extend(took);
        }
        let mut memory = vec![(operator.count, mib(contestant.memory()?))];
        let mut at_rest = Vec::new();
        while operator.count < most {
            at_rest.push(operator.swap(&contestant)?);
            if operator.count.is_multiple_of((most / 10).max(1)) {
                eprintln!("swaps: {} of {most}", operator.count);
                memory.push((operator.count, mib(contestant.memory()?)));
            }
        }
        let millis = |took: &[Duration]| Spread::of(took.iter().map(|took| took.as_secs_f64() * 1e3));
        let swaps_under_load = under_load.len();
        let (under_load, at_rest) = (millis(&under_load), millis(&at_rest));
        Ok(Self { rate, rounds, under_load, at_rest, swaps_under_load, memory })
    }

    /// p99.9 while swapping to that without, in the same round.
    pub(crate) fn ratio(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|[steady, swapping]| swapping.latency[2] / steady.latency[2]))
    }

    /// How many MiB more it has after the last swap than after those under load; not a number if there were no others.
    pub(crate) fn growth(&self) -> f64 {
        match self.memory.as_slice() {
            [(_, early), .., (_, late)] => late - early,
            _ => f64::NAN,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.memory.last().map_or(0, |(count, _)| *count)
    }

    pub(crate) fn section(&self) -> Section {
        let mut tails = Table::new(["", "p50, µs", "p99, µs", "p99.9, µs", "p99.99, µs"]);
        let turns = |swapping: bool| {
            self.rounds.iter().map(move |[without, with]| if swapping { with.latency } else { without.latency })
        };
        for (name, swapping) in [("steady", false), ("swapping", true)] {
            let column = |take: fn([f64; 4]) -> f64| format!("{:.0}", Spread::of(turns(swapping).map(take)));
            tails.row([
                name.to_owned(),
                column(|[p50, ..]| p50),
                column(|[_, p99, ..]| p99),
                column(|[_, _, p999, _]| p999),
                column(|[.., p9999]| p9999),
            ]);
        }
        let mut memory = Table::new(["swaps", "memory, MiB"]);
        for (count, mib) in &self.memory {
            memory.row([count.to_string(), format!("{mib:.1}")]);
        }
        let text = format!(
            "{:.0} thousand logins a second, without a swap and with one after another, as fast as the gate takes them ({}), in \
             {ROUNDS} rounds: each is a component that it has not seen before, moved into its place, compiled and checked. None \
             was lost or misjudged. From the file in its place to the policy in service: {:.0} ms, and {:.0} ms \
             once the load was over; 100 ms of them are waiting whether it stands still. p99.9 while swapping to that without, \
             in the same round: {:.2}.",
            self.rate / 1e3,
            self.swaps_under_load,
            self.under_load,
            self.at_rest,
            self.ratio()
        );
        Section { title: "Swaps", text, tables: vec![tails, memory], plots: Vec::new() }
    }
}

/// Who puts policies in place.
struct Operator {
    directory: PathBuf,
    file: PathBuf,
    component: Vec<u8>,
    count: usize,
}

impl Operator {
    fn begin(component: &Path) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("mqtt-gate-bench-swaps-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let file = directory.join("policy.wasm");
        let component = fs::read(component)
            .with_context(|| format!("cannot read {}: `make components` builds it", component.display()))?;
        fs::write(&file, &component)?;
        Ok(Self { directory, file, component, count: 0 })
    }

    /// Puts another component in place, and waits until it serves.
    fn swap(&mut self, contestant: &Contestant) -> Result<Duration> {
        self.count += 1;
        let next = self.directory.join("next");
        fs::write(&next, numbered(&self.component, self.count))?;
        let began = Instant::now();
        fs::rename(next, &self.file)?;
        let generation = u64::try_from(self.count)? + 1;
        while contestant.generation()? < generation {
            if began.elapsed() > PATIENCE {
                bail!("swap {} has not happened in {PATIENCE:?}", self.count);
            }
            thread::sleep(STEP);
        }
        Ok(began.elapsed())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The component with a custom section at its end: the same policy, and another file.
fn numbered(component: &[u8], number: usize) -> Vec<u8> {
    const NAME: &[u8] = b"bench";
    let number = number.to_le_bytes();
    let length = 1 + NAME.len() + number.len();
    let lengths = [0, length, NAME.len()].map(|one| u8::try_from(one).unwrap_or_default());
    [component, &lengths, NAME, &number].concat()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
