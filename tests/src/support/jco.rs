//! jco, which runs components on Node: an implementation of `wasi:http` that shares nothing with wasmtime.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::support::broker::{free_ports, target};
use crate::support::child::PATIENCE;
use crate::support::wasi_http::variable;

/// Between one look whether it serves and the next.
const POLL: Duration = Duration::from_millis(20);

/// `jco serve` with one component, until this is dropped.
pub(crate) struct Jco {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    process: Child,
    /// Of the process and those that it starts.
    group: u32,
    directory: TempDir,
}

impl Jco {
    /// Runs a component that was composed to take its settings from the environment.
    pub(crate) async fn start(component: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_with(component, settings, &[]).await
    }

    /// The same, with more flags.
    pub(crate) async fn start_with(component: &Path, settings: &[(&str, &str)], flags: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let [port] = free_ports();
        let mut command = Command::new("node");
        command
            .arg(target().join("jco/node_modules/@bytecodealliance/jco/dist/jco.js"))
            .args(["serve", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(flags)
            .arg("--jco-dir")
            .arg(directory.path().join("transpiled"))
            .arg(component)
            .envs(settings.iter().map(|(name, value)| (variable(name), value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("errors")).unwrap())
            // It runs the component in a process of its own, which outlives it.
            .process_group(0)
            .kill_on_drop(true);
        let process = command.spawn().unwrap_or_else(|error| panic!("install nodejs ({error})"));
        let group = process.id().unwrap();
        let mut jco = Self { address: ([127, 0, 0, 1], port).into(), process, group, directory };
        jco.until_it_answers().await;
        jco
    }

    async fn until_it_answers(&mut self) {
        let began = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            let ended = self.process.try_wait().unwrap().is_some();
            assert!(
                !ended && began.elapsed() < PATIENCE,
                "jco does not serve; `make test` installs it, for Node 20 or newer: {}",
                fs::read_to_string(self.directory.path().join("errors")).unwrap()
            );
            sleep(POLL).await;
        }
    }
}

impl Drop for Jco {
    fn drop(&mut self) {
        // One of them may have ended already: what is left of the group is meant.
        let group = format!("-{}", self.group);
        let _ = std::process::Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
    }
}
