//! `make bench`: how fast the gate answers, beside the same checks compiled in, as ratios measured side by side in one
//! run. Every answer is checked.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use auth_core::Settings;
use clap::{Args, Parser, Subcommand};

mod load;
mod measure;
mod regression_check;
mod report;
mod targets;
mod thresholds;

use load::login::Login;
use load::url::Url;
use load::{Load, Pace};
use measure::comparison::Plan;
use measure::latency::Tails;
use measure::run::Spread;
use measure::swaps::Swaps;
use measure::{curves, external_tools, features, proxies, reconnect_storm, tls};
use report::section::Section;
use targets::{Contestant, Kind, Setup, axum_native, evaluators, hyper_baseline};
use thresholds::Measured;

/// How fast the gate answers, beside the same checks compiled in.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measure everything, print the tables and write the page
    Run(Run),
    /// Make the smallest honest comparison, and fail if the gate has become slow
    Check {
        /// The gate, as a program for use
        #[arg(long, default_value = "target/release/mqtt-gate")]
        gate: PathBuf,
    },
    /// Measure the same policy in proxies alone, and print that
    Proxies(Run),
    /// Send logins to whatever listens there, with the key of the bench, and print a line of figures
    Load(LoadAlone),
    /// Serve as one of the contestants, with the key ring of MQTT_SIGNATURE_KEY
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// hyper alone, plain, native or axum-native
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
    /// Where it is asked, as `http://127.0.0.1:8003/mqtt/auth`
    url: Url,
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
    /// The default policy, as a file to swap
    #[arg(long, default_value = "target/components/auth_core.wasm")]
    component: PathBuf,
    /// Where to write PERFORMANCE.md and its plots; nowhere if it is not said
    #[arg(long)]
    write: Option<PathBuf>,
    /// Rounds in which every contestant has its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each turn
    #[arg(long, default_value_t = 0.6)]
    seconds: f64,
    /// Another server to put beside them, by where it is asked; its key has to be
    /// `a key of the bench, of 32 bytes 1`
    #[arg(long)]
    url: Option<Url>,
    /// How many swaps there are to be
    #[arg(long, default_value_t = 1000)]
    swaps: usize,
}

fn main() -> Result<()> {
    match Cli::parse().verb {
        Verb::Run(run) => run.run(),
        Verb::Check { gate } => regression_check::check(&gate),
        Verb::Proxies(run) => run.proxies(),
        Verb::Load(load) => load.run(),
        Verb::Serve(serve) => serve.run(),
    }
}

impl Serve {
    fn run(self) -> Result<()> {
        let keys = std::env::var("MQTT_SIGNATURE_KEY")?;
        let settings = Arc::new(Settings::read(|name| (name == "signature-keys").then(|| keys.clone()))?);
        match self.who.as_str() {
            "hyper alone" => hyper_baseline::serve(self.listen, self.workers),
            "plain" => evaluators::serve(self.listen, self.workers, None),
            "native" => evaluators::serve(self.listen, self.workers, Some(settings)),
            "axum-native" => axum_native::serve(self.listen, self.workers, settings),
            other => anyhow::bail!("no contestant is called {other:?}: hyper alone, plain, native or axum-native"),
        }
    }
}

impl LoadAlone {
    fn run(self) -> Result<()> {
        let login = Login::to(1, &self.url.target)?;
        let pace = self.rate.map_or(Pace::Depth(self.depth), Pace::Rate);
        let load = Load { login: &login, connections: self.connections, pace };
        let answered = load.run(self.url.address, Duration::from_secs_f64(self.seconds))?;
        let micros = |quantile| answered.latencies.value_at_quantile(quantile) / 1000;
        println!(
            "{} logins in {:.3} s, p50 {} µs, p99.9 {} µs, p99.99 {} µs",
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
        let long = Duration::from_secs_f64(self.seconds);
        let (kinds, other) = (&Kind::ALL, self.url.as_ref());
        let plan = Plan { gate: &self.gate, kinds, other, depths: &[1, 16], connections: 8, rounds: self.rounds, long };
        let comparison = plan.run()?;
        let half = comparison.rate(1, Kind::Reused).median / 2.0;
        // Many short turns: what else the machine does for a moment spoils a few of them, and not the median.
        let tails = Tails::measure(&self.gate, half, self.rounds * 2, long)?;
        let swaps = Swaps::measure(&self.gate, &self.component, half, long * 2, self.swaps)?;
        let ready = self.ready()?;
        let measured = Measured { comparison: &comparison, tails: &tails, swaps: &swaps, ready: ready.median };
        let sections = [
            measured.section()?,
            comparison.section(),
            external_tools::section(&self.gate, long)?,
            tails.section(),
            curves::section(&self.gate, 3, long / 3)?,
            swaps.section(),
            features::section(&self.gate, 3, long)?,
            tls::section(&self.gate, 3, long)?,
            reconnect_storm::section(&comparison),
            self.in_proxies()?,
        ];
        if let Some(directory) = &self.write {
            report::write(directory, &sections)?;
        }
        // What matters most is what is left on the screen.
        sections.iter().rev().for_each(|section| println!("{section}"));
        Ok(())
    }

    fn proxies(&self) -> Result<()> {
        println!("{}", self.in_proxies()?);
        Ok(())
    }

    fn in_proxies(&self) -> Result<Section> {
        proxies::section(&self.gate, &self.component, 3, Duration::from_secs_f64(self.seconds))
    }

    /// From the start of the program with the embedded policy until it has answered, in milliseconds.
    fn ready(&self) -> Result<Spread> {
        let mut took = Vec::new();
        for _ in 0..9 {
            let contestant = Contestant::start(&self.gate, Kind::Reused, &Setup::default())?;
            took.push(contestant.ready_after.as_secs_f64() * 1e3);
        }
        Ok(Spread::of(took))
    }
}
