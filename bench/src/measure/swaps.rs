//! Policy swaps: their effect on latency, their duration, and whether they leak memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail};

use crate::load::login::Login;
use crate::load::{Load, Pace};
use crate::measure::run::Run;
use crate::measure::summary::Summary;
use crate::report::section::{Section, Table};
use crate::targets::{Setup, Target, TargetKind};

/// The figures of the swaps.
pub(crate) struct Swaps {
    /// Logins per second.
    rate: f64,
    rounds: Vec<Round>,
    /// The time of a swap under load, in milliseconds: from the rename of the file to the activation of the policy.
    pub(crate) duration_under_load: Summary,
    /// The time of a swap without load, in milliseconds.
    duration_idle: Summary,
    swaps_under_load: usize,
    /// Resident memory in MiB, by the number of swaps.
    memory: Vec<(usize, f64)>,
}

/// A run without swaps, and one during which policies are swapped.
struct Round {
    steady: Run,
    swapping: Run,
}

const ROUNDS: usize = 5;

/// The longest wait for a swap.
const SWAP_TIMEOUT: Duration = Duration::from_secs(20);

/// The interval at which `/status` is polled for the new generation.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

impl Swaps {
    /// Swaps continuously under a load of `rate` logins per second, then without load until `total` swaps are done.
    ///
    /// `component` is the file of the default policy.
    pub(crate) fn measure(gate: &Path, component: &Path, rate: f64, duration: Duration, total: usize) -> Result<Self> {
        let mut policy_file = PolicyFile::create(component)?;
        let setup = Setup { policy: Some(policy_file.path.clone()), ..Setup::default() };
        let target = Target::start(gate, TargetKind::GateReused, &setup)?;
        let login = Login::new(1)?;
        let load = Load { login: &login, connections: 8, pace: Pace::Rate(rate) };
        let (mut rounds, mut under_load) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            eprintln!("swaps: round {round} of {ROUNDS}");
            let steady = Run::measure(&target, &load, duration)?;
            let is_over = AtomicBool::new(false);
            let (swapping, durations) = thread::scope(|scope| {
                let swaps = scope.spawn(|| {
                    let mut durations = Vec::new();
                    while !is_over.load(Relaxed) {
                        durations.push(policy_file.swap(&target)?);
                    }
                    Ok::<_, anyhow::Error>(durations)
                });
                let swapping = Run::measure(&target, &load, duration);
                is_over.store(true, Relaxed);
                let durations = swaps.join().unwrap_or_else(|_| bail!("the swapping thread panicked"))?;
                Ok::<_, anyhow::Error>((swapping?, durations))
            })?;
            rounds.push(Round { steady, swapping });
            under_load.extend(durations);
        }
        let mut memory = vec![(policy_file.swaps, mib(target.memory()?))];
        let mut idle = Vec::new();
        while policy_file.swaps < total {
            idle.push(policy_file.swap(&target)?);
            if policy_file.swaps.is_multiple_of((total / 10).max(1)) {
                eprintln!("swaps: {} of {total}", policy_file.swaps);
                memory.push((policy_file.swaps, mib(target.memory()?)));
            }
        }
        let millis = |durations: &[Duration]| Summary::of(durations.iter().map(|one| one.as_secs_f64() * 1e3));
        Ok(Self {
            rate,
            rounds,
            duration_under_load: millis(&under_load),
            duration_idle: millis(&idle),
            swaps_under_load: under_load.len(),
            memory,
        })
    }

    /// Returns the p99.9 while swapping, relative to that of the steady run of the same round.
    pub(crate) fn p999_ratio(&self) -> Summary {
        Summary::of(self.rounds.iter().map(|round| round.swapping.p999() / round.steady.p999()))
    }

    /// Returns the growth of memory in MiB from the end of the load to the last swap, or NaN without swaps in between.
    pub(crate) fn memory_growth(&self) -> f64 {
        match self.memory.as_slice() {
            [(_, early), .., (_, late)] => late - early,
            _ => f64::NAN,
        }
    }

    /// Returns the number of swaps.
    pub(crate) fn count(&self) -> usize {
        self.memory.last().map_or(0, |(count, _)| *count)
    }

    pub(crate) fn section(&self) -> Section {
        let mut latency = Table::new(["", "p50, µs", "p99, µs", "p99.9, µs", "p99.99, µs"]);
        let steady: Vec<Run> = self.rounds.iter().map(|round| round.steady).collect();
        let swapping: Vec<Run> = self.rounds.iter().map(|round| round.swapping).collect();
        for (name, runs) in [("steady", steady), ("swapping", swapping)] {
            let cell = |figure: fn(&Run) -> f64| format!("{:.0}", Summary::of_runs(&runs, figure));
            latency.row([name.to_owned(), cell(Run::p50), cell(Run::p99), cell(Run::p999), cell(Run::p9999)]);
        }
        let mut memory = Table::new(["swaps", "memory, MiB"]);
        for (count, mib) in &self.memory {
            memory.row([count.to_string(), format!("{mib:.1}")]);
        }
        let text = format!(
            "{:.0} thousand logins per second, in {ROUNDS} rounds of a run without swaps and a run with continuous \
             swaps ({} in all). Each swap renames a component that the gate has not seen before over the policy \
             file; the gate compiles and checks it. Every login had a correct response.\n\n\
             - Time from the rename to the activation: {:.0} ms under load, {:.0} ms without load. It includes 100 \
             ms in which the gate waits for the file to stay unchanged.\n\
             - p99.9 while swapping, relative to the steady run of the same round: {:.2}.",
            self.rate / 1e3,
            self.swaps_under_load,
            self.duration_under_load,
            self.duration_idle,
            self.p999_ratio()
        );
        Section { title: "Swaps", text, tables: vec![latency, memory], plots: Vec::new() }
    }
}

/// The policy file of the gate under test.
struct PolicyFile {
    directory: PathBuf,
    path: PathBuf,
    component: Vec<u8>,
    /// The number of swaps so far.
    swaps: usize,
}

impl PolicyFile {
    fn create(component: &Path) -> Result<Self> {
        let directory = env::temp_dir().join(format!("mqtt-gate-bench-swaps-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let path = directory.join("policy.wasm");
        let component = fs::read(component)
            .with_context(|| format!("cannot read {}: build it with `make components`", component.display()))?;
        fs::write(&path, &component)?;
        Ok(Self { directory, path, component, swaps: 0 })
    }

    /// Renames a new component over the file, and waits until the gate has activated it.
    fn swap(&mut self, target: &Target) -> Result<Duration> {
        self.swaps += 1;
        let next = self.directory.join("next");
        fs::write(&next, with_number(&self.component, self.swaps))?;
        let started = Instant::now();
        fs::rename(next, &self.path)?;
        let generation = u64::try_from(self.swaps)? + 1;
        while target.policy_generation()? < generation {
            if started.elapsed() > SWAP_TIMEOUT {
                bail!("swap {} was not activated within {SWAP_TIMEOUT:?}", self.swaps);
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(started.elapsed())
    }
}

impl Drop for PolicyFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Appends a custom section to the component: the same policy with another digest.
fn with_number(component: &[u8], number: usize) -> Vec<u8> {
    const NAME: &[u8] = b"bench";
    let number = number.to_le_bytes();
    let length = 1 + NAME.len() + number.len();
    let header = [0, length, NAME.len()].map(|byte| u8::try_from(byte).unwrap_or_default());
    [component, &header, NAME, &number].concat()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
