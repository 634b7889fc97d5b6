//! `make bench`: how many logins a second the gate answers, beside the same checks compiled into an axum handler, as
//! ratios measured side by side in one run. Every answer is checked.
//!
//! ```text
//! contestant.rs  a server as a process: started, watched, ended      native.rs  the axum handler that people would write
//! storm.rs       the load: connections, pipelined, in a closed loop  table.rs   medians, spread and ratios
//! ```

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

mod contestant;
mod native;
mod storm;
mod table;

use contestant::Contestant;
use storm::{Login, Storm};
use table::Table;

/// How fast the gate answers, beside the same checks compiled in.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measure, and print the table
    Run(Run),
    /// Serve the checks compiled into an axum handler
    Native {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: String,
    },
}

#[derive(Args)]
struct Run {
    /// The gate, as a program for use
    #[arg(long, default_value = "target/release/mqtt-gate")]
    gate: PathBuf,
    /// Rounds in which every contestant has its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each turn
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Connections, as EMQX has for each of its nodes
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Logins on their way at once on each connection: one figure for each
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    depths: Vec<usize>,
}

fn main() -> Result<()> {
    match Cli::parse().verb {
        Verb::Run(run) => run.run(),
        Verb::Native { listen } => native::serve(&listen),
    }
}

impl Run {
    fn run(self) -> Result<()> {
        let login = Login::genuine()?;
        let mut contestants = [
            Contestant::axum_native()?,
            Contestant::gate(&self.gate, "gate reused", "")?,
            Contestant::gate(&self.gate, "gate fresh", "limits.calls_per_instance = 1\n")?,
        ];
        let mut table = Table::default();
        for round in 1..=self.rounds {
            for &depth in &self.depths {
                for contestant in &mut contestants {
                    eprintln!("round {round} of {}: {}, {depth} on their way", self.rounds, contestant.name);
                    let storm = Storm { connections: self.connections, depth, login: &login };
                    // So that no contestant pays for what is done once.
                    storm.run(contestant.address, Duration::from_millis(300))?;
                    let before = contestant.cpu_time()?;
                    let answered = storm.run(contestant.address, Duration::from_secs_f64(self.seconds))?;
                    let cpu = contestant.cpu_time()?.saturating_sub(before);
                    table.add(contestant.name, depth, answered, cpu);
                }
            }
        }
        for contestant in &contestants {
            table.remember(contestant.name, contestant.memory()?);
        }
        print!("{table}");
        Ok(())
    }
}
