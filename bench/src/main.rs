//! `make bench`: how fast the gate answers, beside the same checks compiled in, as ratios measured side by side in one
//! run. Every answer is checked.
//!
//! ```text
//! contestant.rs  a server as a process: started, watched, ended
//! judges.rs      judges without a component, behind the gate's serving code
//! axum_native.rs the handler that people would write
//! load.rs        the load: in a closed loop, or at a rate       login.rs  what is asked and answered
//! table.rs       medians, spread and ratios
//! ```

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use auth_core::Settings;
use clap::{Args, Parser, Subcommand};

mod axum_native;
mod contestant;
mod judges;
mod load;
mod login;
mod table;

use contestant::{Contestant, Kind, Setup};
use load::{Load, Pace};
use login::Login;
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
    /// Send logins to whatever listens there, and print how many were answered in how many seconds
    Load(LoadAlone),
    /// Serve as one of the contestants, with the key ring of MQTT_SIGNATURE_KEY
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// plain, native or axum-native
    who: String,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Threads; one for each processor if it is not said
    #[arg(long)]
    workers: Option<NonZero<usize>>,
}

#[derive(Args)]
struct LoadAlone {
    /// Where it listens
    server: SocketAddr,
    /// Logins on their way at once on each connection
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Logins a second, instead
    #[arg(long)]
    rate: Option<f64>,
    /// Connections
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Seconds of load
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
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
        Verb::Load(load) => load.run(),
        Verb::Serve(serve) => serve.run(),
    }
}

impl Serve {
    fn run(self) -> Result<()> {
        let keys = std::env::var("MQTT_SIGNATURE_KEY")?;
        let settings = Settings::read(|name| (name == "signature-keys").then(|| keys.clone()))?;
        let settings = Arc::new(settings);
        match self.who.as_str() {
            "plain" => judges::serve(self.listen, self.workers, None),
            "native" => judges::serve(self.listen, self.workers, Some(settings)),
            _ => axum_native::serve(self.listen, self.workers, settings),
        }
    }
}

impl LoadAlone {
    fn run(self) -> Result<()> {
        let login = Login::signed_by_last(1)?;
        let pace = self.rate.map_or(Pace::Depth(self.depth), Pace::Rate);
        let load = Load { login: &login, connections: self.connections, pace };
        let answered = load.run(self.server, Duration::from_secs_f64(self.seconds))?;
        let micros = |quantile| answered.latencies.value_at_quantile(quantile) / 1000;
        println!(
            "{} {:.3} {} {} {}",
            answered.logins,
            answered.took.as_secs_f64(),
            micros(0.5),
            micros(0.999),
            micros(0.9999)
        );
        Ok(())
    }
}

impl Run {
    fn run(self) -> Result<()> {
        let login = Login::signed_by_last(1)?;
        let mut contestants = Vec::new();
        for kind in Kind::ALL {
            contestants.push(Contestant::start(&self.gate, kind, &Setup::default())?);
        }
        let mut table = Table::default();
        for round in 1..=self.rounds {
            for &depth in &self.depths {
                for contestant in &contestants {
                    let name = contestant.kind.name();
                    eprintln!("round {round} of {}: {name}, {depth} on their way", self.rounds);
                    let load = Load { connections: self.connections, pace: Pace::Depth(depth), login: &login };
                    // So that no contestant pays for what is done once.
                    load.run(contestant.address, Duration::from_millis(300))?;
                    let before = contestant.cpu_time()?;
                    let answered = load.run(contestant.address, Duration::from_secs_f64(self.seconds))?;
                    let cpu = contestant.cpu_time()?.saturating_sub(before);
                    table.add(name, depth, answered, cpu);
                }
            }
        }
        for contestant in &contestants {
            table.remember(contestant.kind.name(), contestant.memory()?);
        }
        print!("{table}");
        Ok(())
    }
}
