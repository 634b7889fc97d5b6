//! The command line.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use auth_core::Settings;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::load::login::Login;
use crate::load::url::Url;
use crate::load::{Load, Pace};
use crate::measure::comparison::Plan;
use crate::measure::latency::Latency;
use crate::measure::summary::Summary;
use crate::measure::swaps::Swaps;
use crate::measure::{chains, curves, external_tools, features, proxies, reconnect_storm, tenants, tls};
use crate::report::section::Section;
use crate::soak::SoakArgs;
use crate::targets::{Setup, Target, TargetKind, axum_native, evaluators, hyper_baseline};
use crate::thresholds::Measurements;
use crate::{regression_check, report};

/// Compare the gate with servers that have the same checks compiled in
#[derive(Parser)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the measurements, print the tables and write the report
    Run(RunArgs),
    /// Run a short comparison, and fail if the gate has become slow
    Check(CheckArgs),
    /// Run a gate through swaps, faults and restarts under load, and judge every answer
    Soak(SoakArgs),
    /// Send valid logins to a server and print the rate and latency
    Load(LoadArgs),
    /// Serve as one of the targets, with the key ring of MQTT_SIGNATURE_KEY
    Serve(ServeArgs),
}

#[derive(Args)]
struct RunArgs {
    /// The gate's program, built in release mode
    #[arg(long, default_value = "target/release/mqtt-gate")]
    gate: PathBuf,
    /// The component of the default policy, for the swaps
    #[arg(long, default_value = "target/components/auth_core.wasm")]
    component: PathBuf,
    /// The directory for PERFORMANCE.md and its plots; without it no report is written
    #[arg(long)]
    write: Option<PathBuf>,
    /// Measure only this section; --write replaces it in the report and keeps the others
    #[arg(long)]
    only: Option<SectionName>,
    /// The rounds of the comparison; each target has one run per round
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The duration of a run in seconds
    #[arg(long, default_value_t = 0.6)]
    seconds: f64,
    /// Another server to include in the comparison; its key must be
    /// `a key of the bench, of 32 bytes 1`
    #[arg(long)]
    url: Option<Url>,
    /// The number of swaps
    #[arg(long, default_value_t = 1000)]
    swaps: usize,
}

/// A section that needs the figures of no other one.
#[derive(Clone, Copy, ValueEnum)]
enum SectionName {
    ExternalTools,
    Curves,
    Features,
    Tls,
    Proxies,
    Chains,
    Tenants,
}

#[derive(Args)]
struct CheckArgs {
    /// The gate's program, built in release mode
    #[arg(long, default_value = "target/release/mqtt-gate")]
    gate: PathBuf,
}

#[derive(Args)]
struct LoadArgs {
    /// The URL of the logins, for example `http://127.0.0.1:8003/mqtt/auth`
    url: Url,
    /// Logins in flight per connection
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Logins per second over all connections; replaces --depth
    #[arg(long)]
    rate: Option<f64>,
    /// The number of connections
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// The duration of the load in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

#[derive(Args)]
struct ServeArgs {
    /// The target
    target: TargetKind,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The number of worker threads; the default is one per processor
    #[arg(long)]
    workers: Option<NonZero<usize>>,
}

impl Cli {
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Command::Run(args) => args.run(),
            Command::Check(args) => regression_check::check(&args.gate),
            Command::Soak(args) => args.run(),
            Command::Load(args) => args.run(),
            Command::Serve(args) => args.run(),
        }
    }
}

impl RunArgs {
    fn run(self) -> Result<()> {
        if let Some(name) = self.only {
            let section = self.section(name)?;
            if let Some(directory) = &self.write {
                report::replace(directory, &section)?;
            }
            println!("{section}");
            return Ok(());
        }
        let sections = self.measure()?;
        if let Some(directory) = &self.write {
            report::write(directory, &sections)?;
        }
        // In reverse order, so that the most important section is the last on the screen.
        sections.iter().rev().for_each(|section| println!("{section}"));
        Ok(())
    }

    fn measure(&self) -> Result<[Section; 12]> {
        let duration = self.duration();
        let plan = Plan {
            gate: &self.gate,
            kinds: &TargetKind::ALL,
            external: self.url.as_ref(),
            depths: &[1, 16],
            connections: 8,
            rounds: self.rounds,
            duration,
        };
        let comparison = plan.run()?;
        let half_load = comparison.rate(1, TargetKind::GateReused).median / 2.0;
        // Twice the rounds: a short disturbance of the machine spoils a few runs and leaves the median as it is.
        let latency = Latency::measure(&self.gate, half_load, self.rounds * 2, duration)?;
        let swaps = Swaps::measure(&self.gate, &self.component, half_load, duration * 2, self.swaps)?;
        let startup = self.startup_time()?.median;
        let measurements = Measurements { comparison: &comparison, latency: &latency, swaps: &swaps, startup };
        Ok([
            measurements.section()?,
            comparison.section(),
            self.section(SectionName::ExternalTools)?,
            latency.section(),
            self.section(SectionName::Curves)?,
            swaps.section(),
            self.section(SectionName::Features)?,
            self.section(SectionName::Tls)?,
            reconnect_storm::section(&comparison),
            self.section(SectionName::Proxies)?,
            self.section(SectionName::Chains)?,
            self.section(SectionName::Tenants)?,
        ])
    }

    fn section(&self, name: SectionName) -> Result<Section> {
        let (gate, duration) = (&self.gate, self.duration());
        match name {
            SectionName::ExternalTools => external_tools::section(gate, duration),
            SectionName::Curves => curves::section(gate, 3, duration / 3),
            SectionName::Features => features::section(gate, 3, duration),
            SectionName::Tls => tls::section(gate, 3, duration),
            SectionName::Proxies => proxies::section(gate, &self.component, 3, duration),
            SectionName::Chains => chains::section(gate, self.rounds, duration),
            SectionName::Tenants => tenants::section(gate, self.rounds, duration),
        }
    }

    /// Measures the time from process start to the first response with the embedded policy, in milliseconds.
    fn startup_time(&self) -> Result<Summary> {
        let mut times = Vec::new();
        for _ in 0..9 {
            let target = Target::start(&self.gate, TargetKind::GateReused, &Setup::default())?;
            times.push(target.startup_time.as_secs_f64() * 1e3);
        }
        Ok(Summary::of(times))
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

impl LoadArgs {
    fn run(self) -> Result<()> {
        let login = Login::for_path(1, &self.url.path)?;
        let pace = self.rate.map_or(Pace::Depth(self.depth), Pace::Rate);
        let load = Load { login: &login, connections: self.connections, pace };
        let result = load.run(self.url.address, Duration::from_secs_f64(self.seconds))?;
        let micros = |quantile| result.latencies.value_at_quantile(quantile) / 1000;
        println!(
            "{} logins in {:.3} s, p50 {} µs, p99.9 {} µs, p99.99 {} µs",
            result.logins,
            result.elapsed.as_secs_f64(),
            micros(0.5),
            micros(0.999),
            micros(0.9999)
        );
        Ok(())
    }
}

impl ServeArgs {
    fn run(self) -> Result<()> {
        let keys = std::env::var("MQTT_SIGNATURE_KEY").context("MQTT_SIGNATURE_KEY")?;
        let settings = Arc::new(Settings::read(|name| (name == "signature-keys").then(|| keys.clone()))?);
        match self.target {
            TargetKind::HyperBaseline => hyper_baseline::serve(self.listen, self.workers),
            TargetKind::NoPolicy => evaluators::serve(self.listen, self.workers, None),
            TargetKind::Native => evaluators::serve(self.listen, self.workers, Some(settings)),
            TargetKind::AxumNative => axum_native::serve(self.listen, self.workers, settings),
            TargetKind::GateReused | TargetKind::GateFresh | TargetKind::External => {
                bail!("{} is not a built-in target", self.target.name())
            }
        }
    }
}
