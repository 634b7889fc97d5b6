//! jco, which runs components on Node: an implementation of `wasi:http` that is independent of wasmtime.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support::wasi_http::env_name;
use crate::support::{free_ports, poll_until, target_dir};

/// `jco serve` with one component, until this value is dropped.
pub(crate) struct Jco {
    pub(crate) address: SocketAddr,
    process: Child,
    /// Process group of `jco` and its workers.
    group: u32,
    directory: TempDir,
}

impl Jco {
    /// Runs a component that reads its settings from the environment.
    pub(crate) async fn start(component: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_with(component, settings, &[]).await
    }

    /// As [`Self::start`], with more flags.
    pub(crate) async fn start_with(component: &Path, settings: &[(&str, &str)], flags: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let [port] = free_ports();
        let mut command = Command::new("node");
        command
            .arg(target_dir().join("jco/node_modules/@bytecodealliance/jco/dist/jco.js"))
            .args(["serve", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(flags)
            .arg("--jco-dir")
            .arg(directory.path().join("transpiled"))
            .arg(component)
            .envs(settings.iter().map(|(name, value)| (env_name(name), value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("errors")).unwrap())
            // jco runs the component in a child process, which can outlive it.
            .process_group(0)
            .kill_on_drop(true);
        let process = command.spawn().unwrap_or_else(|error| panic!("install nodejs ({error})"));
        let group = process.id().unwrap();
        let mut jco = Self { address: ([127, 0, 0, 1], port).into(), process, group, directory };
        jco.wait_until_listening().await;
        jco
    }

    async fn wait_until_listening(&mut self) {
        poll_until("jco listens", async || {
            assert!(
                self.process.try_wait().unwrap().is_none(),
                "jco ended; `make test` installs it, for Node 20 or newer: {}",
                fs::read_to_string(self.directory.path().join("errors")).unwrap()
            );
            TcpStream::connect(self.address).await.ok()
        })
        .await;
    }
}

impl Drop for Jco {
    fn drop(&mut self) {
        // Some processes of the group may have ended already.
        let group = format!("-{}", self.group);
        let _ = std::process::Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
    }
}
