//! `make soak`: hours of ordinary life in minutes. Clients log in without a pause while policies are swapped, keys change,
//! files go bad, the gate restarts, and other clients send half a request. Every answer is judged.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clap::Args;

mod action;
mod client;
mod expectation;
mod site;

use action::{Action, Counts};
use client::{Client, Tally};
use expectation::Expectations;
use site::Site;

use crate::report::section::Table;

/// Growth of memory that is no leak: the allocator keeps some of what a peak took.
const MAX_GROWTH: u64 = 64 << 20;

/// Descriptors that may be open in addition at the end: connections that just closed.
const MAX_MORE_DESCRIPTORS: usize = 32;

/// Steps through the actions, which have no factor in common with their number: each leads to all of them.
const STEPS: [usize; 4] = [1, 3, 7, 9];

/// Clients that present the first key, and clients that present the second one.
const CLIENTS: [usize; 2] = [3, 2];

/// Flags of `soak`.
#[derive(Args)]
pub(crate) struct SoakArgs {
    /// The gate's program, built in release mode
    #[arg(long, default_value = "target/release/mqtt-gate")]
    gate: PathBuf,
    /// The directory of the components of the default policy and of the lockdown
    #[arg(long, default_value = "target/components")]
    components: PathBuf,
    /// The duration in minutes
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
}

impl SoakArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let expectations = Arc::new(Expectations::default());
        let mut site = Site::start(&self.gate, &self.components)?;
        let address = site.address();
        let clients: Vec<_> = CLIENTS
            .into_iter()
            .enumerate()
            .flat_map(|(key, count)| std::iter::repeat_n(key, count))
            .map(|key| {
                let client = Client::new(address, key, Arc::clone(&expectations))?;
                Ok(thread::spawn(move || client.run()))
            })
            .collect::<Result<_>>()?;
        let acted = self.act(&mut site, &expectations);
        expectations.end();
        let mut tally = Tally::default();
        for client in clients {
            tally.add(client.join().map_err(|_| anyhow!("a client panicked"))?);
        }
        let (counts, before, after) = acted?;
        println!("{}", table(&tally, &counts, before, after));
        verdict(&tally, before, after)
    }

    /// Does one thing after the other until the time is over. Returns what the gate used at the beginning and at the end.
    fn act(&self, site: &mut Site, expectations: &Expectations) -> Result<(Counts, Usage, Usage)> {
        let end = Instant::now() + Duration::from_secs_f64(self.minutes * 60.0);
        let mut counts = Counts::default();
        // Once everything, so that caches and instances are warm.
        for action in Action::ALL {
            action.run(site, expectations, &mut counts)?;
        }
        let before = site.usage()?;
        let mut round = 0;
        while Instant::now() < end {
            // Another order in each round.
            let step = STEPS.iter().cycle().nth(round).copied().unwrap_or(1);
            for action in Action::ALL.iter().cycle().skip(round).step_by(step).take(Action::ALL.len()) {
                action.run(site, expectations, &mut counts)?;
            }
            round += 1;
            eprintln!("soak: round {round}, {} s left", end.saturating_duration_since(Instant::now()).as_secs());
        }
        // Idle instances are dropped after ten seconds, and buffers returned after the last flood.
        thread::sleep(Duration::from_secs(15));
        Ok((counts, before, site.usage()?))
    }
}

/// Memory in bytes and open descriptors of the gate.
#[derive(Clone, Copy)]
struct Usage {
    memory: u64,
    descriptors: usize,
}

fn table(tally: &Tally, counts: &Counts, before: Usage, after: Usage) -> Table {
    let mut table = Table::new(["", "count"]);
    for (name, count) in [
        ("requests", tally.requests),
        ("allowed", tally.allowed),
        ("denied", tally.denied),
        ("sent again on a new connection", tally.sent_again),
        ("lost", tally.lost),
        ("misjudged", tally.misjudged),
    ] {
        table.row([name.to_owned(), count.to_string()]);
    }
    for (action, count) in Action::ALL.into_iter().zip(counts.0) {
        table.row([action.name().to_owned(), count.to_string()]);
    }
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    table.row(["memory before, after".to_owned(), format!("{}, {}", mib(before.memory), mib(after.memory))]);
    table.row(["descriptors before, after".to_owned(), format!("{}, {}", before.descriptors, after.descriptors)]);
    table
}

fn verdict(tally: &Tally, before: Usage, after: Usage) -> Result<()> {
    if tally.lost + tally.misjudged > 0 {
        bail!("{} requests were lost, {} misjudged", tally.lost, tally.misjudged);
    }
    if tally.allowed == 0 || tally.denied == 0 {
        bail!("the clients saw no allowed or no denied login");
    }
    if after.memory > before.memory + MAX_GROWTH {
        bail!("memory has grown by more than {} MiB", MAX_GROWTH >> 20);
    }
    if after.descriptors > before.descriptors + MAX_MORE_DESCRIPTORS {
        bail!("more than {MAX_MORE_DESCRIPTORS} descriptors are left open");
    }
    Ok(())
}
