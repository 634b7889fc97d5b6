//! `mqtt-gate serve`

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use mqtt_gate::config::{Config, ConfigError, KEY_SETTING, parse_address, read_text};
use mqtt_gate::telemetry::log::Log;
use mqtt_gate::{ConfigFile, InheritedSockets, Listeners, ServeError, Server, raise_open_files};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;
use zeroize::Zeroizing;

use super::error::CliError;
use super::exit::Exit;
use super::mint::{self, Credential};
use super::output;

/// Time for blocked threads to finish after the last response. A hung disk must not keep the process alive.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Flags of `serve`. Each overrides the configuration.
#[derive(Args)]
#[command(after_help = "Examples:
  MQTT_SIGNATURE_KEY=… mqtt-gate serve        run the default policy on 0.0.0.0:8003
  mqtt-gate serve --config /etc/mqtt-gate/gate.toml
  mqtt-gate serve --demo                      try it with a temporary key")]
pub(crate) struct Serve {
    /// Read this configuration; flags override it (example: deploy/gate.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen for brokers on this address [default: that of the configuration, or 0.0.0.0:8003]
    /// [may be repeated]
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    listen: Vec<SocketAddr>,
    /// Listen for the operator on this address [default: that of the configuration, or 127.0.0.1:8004]
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    admin_listen: Option<SocketAddr>,
    /// Run this policy, and swap it when the file changes [default: that of the configuration, or the embedded policy]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Generate a key for this run, and print a request that is allowed
    #[arg(long)]
    demo: bool,
    /// Log this level and above: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: LevelFilter,
}

impl Serve {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        raise_open_files();
        // Changes the environment, so it must run before the first thread starts.
        let inherited = InheritedSockets::take().map_err(ServeError::from)?;
        let log = Log::start(self.log_level).map_err(ServeError::System)?;
        let text = self.config.as_deref().map(read_text).transpose()?.map(Zeroizing::new);
        let mut config = self.overrides().config(text.as_deref().map(String::as_str))?;
        let demo = if self.demo { Some(prepare_demo(&mut config)?) } else { None };
        config.resolve_env()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::System)?;
        let file = text.zip(self.config.clone()).map(|(text, path)| self.config_file(path, text));
        let served = runtime.block_on(self.serve(config, file, inherited, &log, demo));
        runtime.shutdown_timeout(EXIT_TIMEOUT);
        served.map(|()| Exit::Ok)
    }

    async fn serve(
        &self,
        config: Config,
        file: Option<ConfigFile>,
        inherited: InheritedSockets,
        log: &Log,
        demo: Option<Credential>,
    ) -> Result<(), CliError> {
        let mut shutdown = pin!(shutdown_signal()?);
        let _ignored = ignore_other_signals()?;
        let listeners = Listeners::open(&config, inherited).map_err(ServeError::from)?;
        let first = listeners.auth.first().map(TcpListener::local_addr).transpose().map_err(ServeError::System)?;
        let listen = first.unwrap_or(config.admin_listen);
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        // A policy can take long to compile. The gate hears signals meanwhile.
        let preparing = tokio::task::spawn_blocking(|| Server::prepare_with_child_compiler(config));
        let server = tokio::select! {
            server = preparing => server.map_err(|error| ServeError::System(error.into()))??,
            () = &mut shutdown => {
                tracing::info!("stopped before the first policy was loaded");
                return Ok(());
            }
        };
        let mut server = server.with_dropped_log_lines(log.dropped_lines());
        if let Some(file) = file {
            server = server.with_config_file(file);
        }
        if let Some(credential) = demo {
            output::print_text(demo_text(scheme, listen, &credential, self.policy.as_deref()))?;
        }
        Ok(server.serve(listeners, shutdown).await?)
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            path: self.config.clone(),
            listen: self.listen.clone(),
            admin_listen: self.admin_listen,
            policy: self.policy.clone(),
        }
    }

    /// The configuration file, for the gate to read it again.
    fn config_file(&self, path: PathBuf, text: Zeroizing<String>) -> ConfigFile {
        let overrides = self.overrides();
        let load = move |text: &str| {
            let mut config = overrides.config(Some(text))?;
            config.resolve_env()?;
            Ok(config)
        };
        ConfigFile { path, text, load: Box::new(load) }
    }
}

/// Flags that override the configuration.
struct Overrides {
    path: Option<PathBuf>,
    listen: Vec<SocketAddr>,
    admin_listen: Option<SocketAddr>,
    policy: Option<PathBuf>,
}

impl Overrides {
    /// The configuration with this text, or the default one.
    fn config(&self, text: Option<&str>) -> Result<Config, ConfigError> {
        let parse = |text| Config::parse(self.path.as_deref().unwrap_or(Path::new("")), text);
        let mut config = text.map_or_else(|| Ok(Config::default()), parse)?;
        if !self.listen.is_empty() {
            config.listen = self.listen.iter().copied().collect();
        }
        config.admin_listen = self.admin_listen.unwrap_or(config.admin_listen);
        if let Some(file) = &self.policy {
            config.override_policy_file(file)?;
        }
        Ok(config)
    }
}

/// Returns a future that resolves at SIGTERM, SIGQUIT or Ctrl-C. From this call on, none of them ends the process by
/// itself.
fn shutdown_signal() -> Result<impl Future<Output = ()>, ServeError> {
    let listen = |kind| signal(kind).map_err(ServeError::System);
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut quit = listen(SignalKind::quit())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
    })
}

/// Keeps signals from ending the process that log rotation, supervisors and timers send to other programs. The server
/// handles SIGHUP later. The signals stay ignored after the result is dropped.
fn ignore_other_signals() -> Result<Vec<Signal>, ServeError> {
    let kinds = [
        SignalKind::hangup(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::alarm(),
        SignalKind::io(),
    ];
    kinds.into_iter().map(signal).collect::<Result<_, _>>().map_err(ServeError::System)
}

/// Configures a random key, and signs a credential with it.
fn prepare_demo(config: &mut Config) -> Result<Credential> {
    let key = mint::random_hex::<32>()?;
    let credential = Credential::example(&key)?;
    let settings = &mut config.policy.first.settings;
    settings.set(KEY_SETTING, key);
    if !settings.contains("clients") {
        // The lockdown policy needs this setting to be swapped in.
        settings.set("clients", String::new());
    }
    Ok(credential)
}

fn demo_text(scheme: &str, listen: SocketAddr, credential: &Credential, policy: Option<&Path>) -> String {
    let host = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
    let url = format!("{scheme}://{}/mqtt/auth", SocketAddr::new(host, listen.port()));
    let mut text = format!(
        "Generated a key for this run. It allows this device:\n\n  \
         curl -i {url} -H 'content-type: application/json' -d '{credential}'\n\n\
         Change one character of the password, and the device is denied.\n"
    );
    if let Some(policy) = policy {
        text.push_str(&format!("Copy another policy to {}, and it evaluates the next login.\n", policy.display()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_prints_a_curl_line_for_this_machine() {
        let credential = Credential::example("a key that is long enough").unwrap();
        let text = demo_text("http", "0.0.0.0:8003".parse().unwrap(), &credential, Some(Path::new("p.wasm")));
        assert!(
            text.contains("\n  curl -i http://127.0.0.1:8003/mqtt/auth -H 'content-type: application/json' -d '{\"")
        );
        assert!(text.contains("Copy another policy to p.wasm,"), "{text}");
        let text = demo_text("https", "[::1]:1".parse().unwrap(), &credential, None);
        assert!(text.contains("https://[::1]:1/mqtt/auth") && !text.contains("Copy"), "{text}");
    }
}
