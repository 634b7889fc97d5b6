//! A server under test, in a separate process: its processor time and memory do not include those of the load.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use tempfile::TempPath;

use crate::load::login::{Login, key_ring};
use crate::load::response::ResponseChecker;
use crate::targets::process::{free_address, spawn_until_logged};

/// The servers that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum TargetKind {
    /// hyper with a constant response.
    HyperBaseline,
    /// The gate's serving code without a policy: it allows every login.
    NoPolicy,
    /// The gate's serving code with the default policy's checks compiled in.
    Native,
    /// The default policy's checks in an ordinary axum handler.
    AxumNative,
    /// The gate, which reuses the instances of its policy.
    #[value(skip)]
    GateReused,
    /// The gate, with a fresh instance for each login.
    #[value(skip)]
    GateFresh,
    /// A server that the benchmark did not start itself.
    #[value(skip)]
    External,
}

impl TargetKind {
    /// Every kind except [`TargetKind::External`].
    pub(crate) const ALL: [Self; 6] =
        [Self::HyperBaseline, Self::NoPolicy, Self::Native, Self::AxumNative, Self::GateReused, Self::GateFresh];

    /// The kinds that evaluate the default policy: the subject of most measurements.
    pub(crate) const WITH_POLICY: [Self; 4] = [Self::Native, Self::AxumNative, Self::GateReused, Self::GateFresh];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HyperBaseline => "hyper-baseline",
            Self::NoPolicy => "no-policy",
            Self::Native => "native",
            Self::AxumNative => "axum-native",
            Self::GateReused => "gate reused",
            Self::GateFresh => "gate fresh",
            Self::External => "external",
        }
    }

    fn is_gate(self) -> bool {
        matches!(self, Self::GateReused | Self::GateFresh)
    }

    fn has_policy(self) -> bool {
        !matches!(self, Self::HyperBaseline | Self::NoPolicy)
    }
}

/// The configuration of a target.
#[derive(Clone)]
pub(crate) struct Setup {
    /// The number of keys in the ring.
    pub(crate) keys: usize,
    /// The number of worker threads. The default is one per processor.
    pub(crate) workers: Option<NonZero<usize>>,
    /// The policy file. The default is the policy embedded in the gate.
    pub(crate) policy: Option<PathBuf>,
    /// Additional lines of `gate.toml`.
    pub(crate) extra_config: String,
    /// Whether `extra_config` turns on TLS. The load has no TLS client, so such a target is not probed at the start.
    pub(crate) is_tls: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { keys: 1, workers: None, policy: None, extra_config: String::new(), is_tls: false }
    }
}

/// A server that runs until this value is dropped.
pub(crate) struct Target {
    pub(crate) kind: TargetKind,
    pub(crate) address: SocketAddr,
    /// The time from process start to the first response.
    pub(crate) startup_time: Duration,
    admin_address: SocketAddr,
    /// `None` for [`TargetKind::External`].
    process: Option<Child>,
    /// The configuration of the gate, which watches this file. It is removed after the process has ended.
    _config_file: Option<TempPath>,
}

/// The longest wait for a single response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The unit of processor times in `/proc/PID/stat`: `USER_HZ`, which is 100 on Linux.
const TICKS_PER_SECOND: u64 = 100;

impl Target {
    /// Starts the target and waits until it serves. `gate` is the path of the gate's program.
    pub(crate) fn start(gate: &Path, kind: TargetKind, setup: &Setup) -> Result<Self> {
        let (address, admin_address) = (free_address()?, free_address()?);
        let mut command = if kind.is_gate() {
            let mut command = Command::new(gate);
            command.arg("serve").args(["--listen", &address.to_string(), "--admin-listen", &admin_address.to_string()]);
            command
        } else {
            let mut command = Command::new(env::current_exe()?);
            command.args(["serve", kind.name(), "--listen", &address.to_string()]);
            if let Some(workers) = setup.workers {
                command.args(["--workers", &workers.to_string()]);
            }
            command
        };
        // Most of the setup has no flag, only a config key.
        let config_file = kind.is_gate().then(|| setup.write_config(kind)).transpose()?;
        if let Some(file) = &config_file {
            command.arg("--config").arg(file);
        }
        command.env("MQTT_SIGNATURE_KEY", key_ring(setup.keys));
        let started = Instant::now();
        let spawned = spawn_until_logged(&mut command, if kind.is_gate() { "\"serving\"" } else { "listening on" });
        let (process, _) = spawned.with_context(|| format!("cannot start {}", kind.name()))?;
        let mut target = Self {
            kind,
            address,
            startup_time: Duration::ZERO,
            admin_address,
            process: Some(process),
            _config_file: config_file,
        };
        if !setup.is_tls {
            target.probe(setup)?;
        }
        target.startup_time = started.elapsed();
        Ok(target)
    }

    /// Creates a target for a server that listens at `address` already.
    pub(crate) fn external(address: SocketAddr) -> Self {
        Self {
            kind: TargetKind::External,
            address,
            startup_time: Duration::ZERO,
            admin_address: address,
            process: None,
            _config_file: None,
        }
    }

    /// Returns the generation of the active policy.
    pub(crate) fn policy_generation(&self) -> Result<u64> {
        let status: serde_json::Value = serde_json::from_str(&self.admin_page("/status")?)?;
        status.pointer("/policy/generation").and_then(serde_json::Value::as_u64).context("/status: no generation")
    }

    /// Returns the body of a page at the admin address.
    pub(crate) fn admin_page(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.admin_address)?;
        // In one piece: Nagle's algorithm would hold back the second one.
        let request = format!("GET {path} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let (_, body) = response.split_once("\r\n\r\n").with_context(|| format!("{path}: no body"))?;
        Ok(body.to_owned())
    }

    /// Returns the processor time of the process so far, or zero for an external target.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let Some(process) = &self.process else { return Ok(Duration::ZERO) };
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
        // The program name, in parentheses, may hold spaces. After it, `utime` and `stime` are at 11 and 12 (proc(5)).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("/proc: no processor time");
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 1_000 / TICKS_PER_SECOND))
    }

    /// Returns the resident memory in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.proc_status("VmRSS:")
    }

    /// Returns the peak of the resident memory in bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.proc_status("VmHWM:")
    }

    /// Reads a size from `/proc/PID/status`. Zero for an external target.
    fn proc_status(&self, name: &str) -> Result<u64> {
        let Some(process) = &self.process else { return Ok(0) };
        let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("/proc: no memory size")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// Checks that the target allows a valid login, and that a target with a policy denies a wrong password.
    pub(crate) fn probe(&self, setup: &Setup) -> Result<()> {
        let login = Login::new(setup.keys)?;
        if !self.allows(&login.requests(1))? {
            bail!("{} does not allow a valid login", self.kind.name());
        }
        if self.kind.has_policy() && self.allows(login.forged_request())? {
            bail!("{} allows a login with a wrong password", self.kind.name());
        }
        Ok(())
    }

    fn allows(&self, request: &[u8]) -> Result<bool> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
        stream.write_all(request)?;
        let (mut response, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut buffer)?;
            response.extend_from_slice(buffer.get(..length).unwrap_or_default());
            match ResponseChecker::default().next_len(&response) {
                Ok(None) if length > 0 => {}
                Ok(None) => bail!("{} closed the connection", self.kind.name()),
                Ok(Some(_)) => return Ok(true),
                Err(_) => return Ok(false),
            }
        }
    }
}

impl Setup {
    fn write_config(&self, kind: TargetKind) -> Result<TempPath> {
        let mut file = tempfile::Builder::new().prefix("mqtt-gate-bench-").suffix(".toml").tempfile()?;
        file.write_all(self.config(kind).as_bytes())?;
        Ok(file.into_temp_path())
    }

    fn config(&self, kind: TargetKind) -> String {
        let mut config = String::new();
        if let Some(workers) = self.workers {
            config += &format!("workers = {workers}\n");
        }
        if let Some(policy) = &self.policy {
            config += &format!("policy.file = {policy:?}\n");
        }
        if kind == TargetKind::GateFresh {
            config += "limits.max_calls_per_instance = 1\n";
        }
        config += &self.extra_config;
        config
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Target::start` passes the name as the argument of `bench serve`.
    #[test]
    fn built_in_targets_have_the_same_name_on_the_command_line() {
        for kind in TargetKind::value_variants() {
            let argument = kind.to_possible_value().unwrap();
            assert_eq!(argument.get_name(), kind.name());
        }
    }
}
