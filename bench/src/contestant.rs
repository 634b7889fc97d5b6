//! A server that is measured: a process of its own, so that its time and memory can be told from the load's.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::storm::KEY;

/// A server that runs until this is dropped.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    process: Child,
}

/// How often the system counts a process's time, in a second.
const TICKS: u64 = 100;

impl Contestant {
    /// The checks compiled into an axum handler: this program, by its other verb.
    pub(crate) fn axum_native() -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("native");
        Self::start("axum-native", command, "listening on ")
    }

    /// The gate with its default policy and this configuration.
    pub(crate) fn gate(program: &Path, name: &'static str, config: &str) -> Result<Self> {
        let file =
            env::temp_dir().join(format!("mqtt-gate-bench-{}-{}.toml", std::process::id(), name.replace(' ', "-")));
        fs::File::create(&file)?.write_all(config.as_bytes())?;
        let mut command = Command::new(program);
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        command.args(["serve", "--admin-listen", "127.0.0.1:0", "--listen", &format!("127.0.0.1:{port}")]);
        command.arg("--config").arg(&file).env("MQTT_SIGNATURE_KEY", KEY);
        let started = Self::start(name, command, "\"listen\":\"");
        fs::remove_file(file)?;
        started
    }

    /// Starts a server and reads on its standard error where it listens: what follows this text.
    fn start(name: &'static str, mut command: Command, before_address: &str) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}; `make bench` builds it"))?;
        let mut log = BufReader::new(process.stderr.take().context("no standard error")?);
        let mut line = String::new();
        loop {
            line.clear();
            if log.read_line(&mut line)? == 0 {
                bail!("{name} ended before it served");
            }
            if let Some((_, rest)) = line.split_once(before_address) {
                let address = rest.split(['"', '\n']).next().unwrap_or_default().parse()?;
                // Read on, so that it never waits to be heard.
                std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
                return Ok(Self { name, address, process });
            }
        }
    }

    /// Processor time that it has taken until now.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // After the name, which may hold anything: the state, and ten fields on the two times.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("no time");
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 1_000 / TICKS))
    }

    /// Memory that it has now, in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no memory")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
