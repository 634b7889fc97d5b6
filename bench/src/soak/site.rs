//! The gate under test: its files, its process, its status.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mqtt_gate::status_response::StatusResponse;
use serde_json::Value;

use super::Usage;
use crate::load::login::Login;
use crate::targets::process::{free_address, spawn_until_logged};

/// The two signing keys. The first is always in the ring.
pub(crate) const KEYS: [&str; 2] = ["the first key of the soak, 32 bytes", SECOND_KEY];
const SECOND_KEY: &str = "the second key of the soak, 32 bytes";

/// The longest wait for a change to take effect.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The interval at which `/status` is asked.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

pub(crate) struct Site {
    directory: tempfile::TempDir,
    gate: PathBuf,
    address: SocketAddr,
    admin_address: SocketAddr,
    process: Child,
    pub(crate) default_policy: Vec<u8>,
    pub(crate) lockdown: Vec<u8>,
}

impl Site {
    /// Writes the files and starts a gate.
    pub(crate) fn start(gate: &Path, components: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = components.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}: build it with `make components`", path.display()))
        };
        let (default_policy, lockdown) = (read("auth_core.wasm")?, read("lockdown.wasm")?);
        let directory = tempfile::Builder::new().prefix("mqtt-gate-soak-").tempdir()?;
        let (address, admin_address) = (free_address()?, free_address()?);
        let path = |name: &str| directory.path().join(name);
        fs::write(path("policy.wasm"), &default_policy)?;
        fs::write(path("keys"), ring(1))?;
        let config = format!(
            "policy.file = {:?}\nstate.directory = {:?}\ndecision_log.file = {:?}\n\
             [policy.settings]\nsignature-keys = {{ file = {:?} }}\nclients = \"operator\"\n\
             [limits]\nrequest_timeout = \"2s\"\nmax_buffered = \"4MiB\"\ncompile_timeout = \"3s\"\n",
            path("policy.wasm"),
            path("state"),
            path("decisions"),
            path("keys"),
        );
        fs::write(path("gate.toml"), config)?;
        let process = start_process(gate, &path("gate.toml"), address, admin_address)?;
        Ok(Self { directory, gate: gate.to_owned(), address, admin_address, process, default_policy, lockdown })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a file in one step.
    pub(crate) fn replace(&self, name: &str, contents: &[u8]) -> Result<()> {
        let next = self.path("next");
        fs::write(&next, contents)?;
        Ok(fs::rename(next, self.path(name))?)
    }

    /// Puts this many keys into the ring.
    pub(crate) fn write_keys(&self, count: usize) -> Result<()> {
        self.replace("keys", ring(count).as_bytes())
    }

    /// Ends the gate, and starts it again on the same addresses.
    pub(crate) fn restart(&mut self, signal: &str) -> Result<()> {
        self.signal(signal)?;
        self.process.wait()?;
        self.process = start_process(&self.gate, &self.path("gate.toml"), self.address, self.admin_address)?;
        Ok(())
    }

    /// Sends a signal to the gate.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        let id = self.process.id().to_string();
        if !Command::new("kill").args(["-s", signal, &id]).status()?.success() {
            bail!("cannot send {signal}");
        }
        Ok(())
    }

    /// Waits until the gate has created a file.
    pub(crate) fn wait_for_file(&self, name: &str) -> Result<()> {
        let started = Instant::now();
        while !self.path(name).exists() {
            if started.elapsed() > MAX_WAIT {
                bail!("timed out waiting for the file {name}");
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    pub(crate) fn status(&self) -> Result<StatusResponse> {
        let mut stream = TcpStream::connect(self.admin_address)?;
        stream.set_read_timeout(Some(MAX_WAIT))?;
        stream.write_all(b"GET /status HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n")?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let (_, body) = response.split_once("\r\n\r\n").context("/status: no body")?;
        Ok(serde_json::from_str(body)?)
    }

    /// Waits until the status is as wanted.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&StatusResponse) -> bool) -> Result<()> {
        let started = Instant::now();
        while !condition(&self.status()?) {
            if started.elapsed() > MAX_WAIT {
                bail!("timed out waiting until {what}");
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Waits until a login with the second key is allowed.
    pub(crate) fn wait_for_second_key(&self) -> Result<()> {
        let login = Login::signed_by(SECOND_KEY, "/mqtt/auth")?;
        let started = Instant::now();
        while !self.allows(&login.requests(1))? {
            if started.elapsed() > MAX_WAIT {
                bail!("timed out waiting until the second key is valid");
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn allows(&self, request: &[u8]) -> Result<bool> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(MAX_WAIT))?;
        stream.write_all(request)?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(start == *b"HTTP/1.1 200")
    }

    /// Returns the memory and the descriptors that the gate uses.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let process = self.process.id();
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("/proc: no memory size")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(Usage { memory: kib << 10, descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count() })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start_process(gate: &Path, config: &Path, address: SocketAddr, admin_address: SocketAddr) -> Result<Child> {
    let mut command = Command::new(gate);
    command.arg("serve").arg("--config").arg(config);
    command.args(["--listen", &address.to_string(), "--admin-listen", &admin_address.to_string()]);
    Ok(spawn_until_logged(&mut command, "\"serving\"").context("cannot start the gate")?.0)
}

/// The setting `signature-keys` with the first keys.
fn ring(count: usize) -> String {
    let keys = KEYS.iter().take(count).enumerate();
    let keys: Vec<_> = keys.map(|(id, key)| serde_json::json!({ "id": format!("k{id}"), "key": key })).collect();
    Value::from(keys).to_string()
}
