//! `mqtt-gate serve`

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use mqtt_gate::config::{Config, KEY_SETTING};
use mqtt_gate::{Gate, HandedOver, Listeners, ServeError};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use super::mint::Credential;
use crate::log::Log;

/// The flags of `serve`. Each overrides the file.
#[derive(Args)]
#[command(after_help = "Examples:
  MQTT_SIGNATURE_KEY=… mqtt-gate serve        the default policy on 0.0.0.0:8003
  mqtt-gate serve --config /etc/mqtt-gate/gate.toml
  mqtt-gate serve --demo                      a key and a credential to try it with")]
pub(crate) struct Serve {
    /// Read this configuration (see deploy/gate.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer brokers here [default: 0.0.0.0:8003]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Answer the operator here [default: 127.0.0.1:8004]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
    /// Serve with this component, and watch it [default: the policy within the program]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Make a key for this run, and print a credential that is let in with it
    #[arg(long)]
    demo: bool,
    /// Say this much: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: LevelFilter,
}

impl Serve {
    pub(crate) fn run(self) -> Result<()> {
        // Before there is a thread.
        let handed_over = HandedOver::take().map_err(ServeError::from)?;
        let log = Log::start(self.log_level).map_err(ServeError::System)?;
        let mut config = self.config()?;
        let demo = if self.demo { Some(Demo::prepare(&mut config)?) } else { None };
        config.resolve_env()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::System)?;
        let served = runtime.block_on(async {
            let shutdown = stop_signal()?;
            // Whoever rotates logs sends it at any time, and must not end a gate that starts. The gate takes it later.
            let _hangup = signal(SignalKind::hangup()).map_err(ServeError::System)?;
            let listeners = Listeners::open(&config, handed_over)?;
            let listen = listeners.logins.local_addr().map_err(ServeError::System)?;
            let scheme = if config.tls.is_some() { "https" } else { "http" };
            let gate = Gate::prepare(config)?.with_lost_lines(log.lost());
            if let Some(demo) = demo {
                demo.print(scheme, listen, self.policy.as_ref())?;
            }
            Ok(gate.serve(listeners, shutdown).await?)
        });
        // A disk that does not answer must not keep the program from ending.
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    }

    fn config(&self) -> Result<Config> {
        let mut config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        config.listen = self.listen.unwrap_or(config.listen);
        config.admin_listen = self.admin_listen.unwrap_or(config.admin_listen);
        config.policy.file = self.policy.clone().or(config.policy.file);
        Ok(config)
    }
}

/// Resolves at SIGTERM or Ctrl-C. From the call on, neither ends the process by itself.
fn stop_signal() -> Result<impl Future<Output = ()>, ServeError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// A gate to try, with a key that nobody knows.
struct Demo {
    credential: Credential,
}

impl Demo {
    fn prepare(config: &mut Config) -> Result<Self> {
        let key = super::mint::random_hex::<32>()?;
        let credential = Credential::example(&key)?;
        config.policy.settings.set(KEY_SETTING, key);
        if !config.policy.settings.names("clients") {
            // So that the lockdown policy can be copied over the default one.
            config.policy.settings.set("clients", String::new());
        }
        Ok(Self { credential })
    }

    fn print(&self, scheme: &str, listen: SocketAddr, policy: Option<&PathBuf>) -> io::Result<()> {
        let host = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
        let url = format!("{scheme}://{}/mqtt/auth", SocketAddr::new(host, listen.port()));
        let mut out = io::stdout().lock();
        writeln!(out, "A key was made for this run. It lets this device in:\n")?;
        writeln!(out, "  curl -i {url} -H 'content-type: application/json' -d '{}'\n", self.credential)?;
        writeln!(out, "Change one character of it, and the device is refused.")?;
        if let Some(policy) = policy {
            writeln!(out, "Copy another policy over {}, and the next login is judged by it.", policy.display())?;
        }
        writeln!(out)
    }
}
