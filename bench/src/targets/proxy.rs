//! Other hosts of the default policy: wasmtime, jco and Envoy, if they are installed.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::load::login::key_ring;
use crate::targets::process::{free_address, spawn_until_logged};
use crate::targets::{Setup, Target};

/// The longest wait for the first valid response. jco transpiles the component first.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);

/// The interval between two probes during startup.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// A proxy that runs until this value is dropped.
pub(crate) struct Proxy {
    pub(crate) target: Target,
    process: Child,
}

/// The files that proxies are started from: `make test` installs the proxies, `make components` builds the components.
pub(crate) struct ProxyFiles<'a> {
    pub(crate) gate: &'a Path,
    pub(crate) component: &'a Path,
    /// Cargo's target directory.
    pub(crate) target_directory: &'a Path,
    /// A directory for the temporary files of this run.
    pub(crate) temp_directory: &'a Path,
}

impl ProxyFiles<'_> {
    /// Composes the policy with the adapter that makes it a `wasi:http` component.
    fn compose(&self, flags: &[&str]) -> Result<PathBuf> {
        let path = self.temp_directory.join("composition.wasm");
        let mut command = Command::new(self.gate);
        let output = command.arg("compose").arg(self.component).arg("-o").arg(&path).args(flags).output()?;
        ensure!(output.status.success(), "cannot compose the policy: {}", String::from_utf8_lossy(&output.stderr));
        Ok(path)
    }

    /// Starts a host with the library of `wasmtime serve`, or returns `None` if it is not built.
    pub(crate) fn wasmtime(&self) -> Result<Option<Proxy>> {
        let program = self.target_directory.join("debug/wasi-host");
        if !program.exists() {
            return Ok(None);
        }
        let mut command = Command::new(program);
        command.arg(self.compose(&[])?).env("MQTT_GATE_SIGNATURE_KEYS", key_ring(1));
        let (process, line) = spawn_until_logged(command.process_group(0), "listening on")?;
        let address = line.rsplit(' ').next().unwrap_or_default().trim().parse()?;
        Proxy::wait_until_ready(process, address).map(Some)
    }

    /// Starts `jco serve`, or returns `None` if jco is not installed.
    pub(crate) fn jco(&self) -> Result<Option<Proxy>> {
        let program = self.target_directory.join("jco/node_modules/@bytecodealliance/jco/dist/jco.js");
        if !program.exists() {
            return Ok(None);
        }
        let address = free_address()?;
        let mut command = Command::new("node");
        command.arg(program).args(["serve", "--host", "127.0.0.1", "--port", &address.port().to_string(), "--jco-dir"]);
        command.arg(self.temp_directory.join("jco")).arg(self.compose(&["--settings-from-env"])?);
        command.env("MQTT_GATE_SIGNATURE_KEYS", key_ring(1));
        Proxy::start(&mut command, address).map(Some)
    }

    /// Starts Envoy with both filters, or returns `None` if Envoy or the component of the filters is missing.
    ///
    /// The configuration is `deploy/envoy.yaml` with other addresses and another key. The HTTP filter answers brokers;
    /// the MQTT filter stands in front of `broker`. The returned address is that of the MQTT filter.
    pub(crate) fn envoy(&self, broker: SocketAddr) -> Result<Option<(Proxy, SocketAddr)>> {
        let program = self.target_directory.join("envoy/bin/envoy");
        let filter = self.target_directory.join("components/envoy_filter.wasm");
        if !program.exists() || !filter.exists() {
            return Ok(None);
        }
        let (http, mqtt) = (free_address()?, free_address()?);
        let config = include_str!("../../../deploy/envoy.yaml")
            .replace("port_value: 8003", &format!("port_value: {}", http.port()))
            .replace("0.0.0.0, port_value: 1883", &format!("127.0.0.1, port_value: {}", mqtt.port()))
            .replace("port_value: 1884", &format!("port_value: {}", broker.port()))
            .replace("/etc/envoy/envoy_filter.wasm", &filter.canonicalize()?.display().to_string())
            .replace("REPLACE-WITH-YOUR-SIGNATURE-KEY", &key_ring(1));
        let file = self.temp_directory.join("envoy.yaml");
        fs::write(&file, config)?;
        let mut command = Command::new(program);
        command.arg("-c").arg(file).args(["--use-dynamic-base-id", "--disable-hot-restart", "--log-level", "error"]);
        Ok(Some((Proxy::start(&mut command, http)?, mqtt)))
    }
}

impl Proxy {
    fn start(command: &mut Command, address: SocketAddr) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Self::wait_until_ready(command.spawn()?, address)
    }

    /// Probes the proxy until it allows a valid login and denies a wrong password.
    fn wait_until_ready(process: Child, address: SocketAddr) -> Result<Self> {
        let proxy = Self { process, target: Target::external(address) };
        let started = Instant::now();
        loop {
            match proxy.target.probe(&Setup::default()) {
                Ok(()) => return Ok(proxy),
                Err(error) if started.elapsed() > STARTUP_TIMEOUT => return Err(error),
                Err(_) => thread::sleep(PROBE_INTERVAL),
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Kill the process group: jco runs the component in a child process.
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).status();
        let _ = self.process.wait();
    }
}
