//! A gate that runs for one test, in this process, on free ports, with a policy file of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mqtt_gate::config::Config;
use mqtt_gate::{Listeners, ServeError, serve};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::child::PATIENCE;
use crate::support::device::{Device, KEY};
use crate::support::http::{self, Answer, Connection};

pub(crate) const AUTH_CORE: &str = env!("AUTH_CORE");
pub(crate) const LOCKDOWN: &str = env!("LOCKDOWN");
pub(crate) const MISBEHAVING: &str = env!("MISBEHAVING");
pub(crate) const PLAIN: &str = env!("PLAIN");

/// The client that the lockdown policy lets in.
pub(crate) const OPERATOR: &str = "operator";

pub(crate) struct Gate {
    pub(crate) logins: SocketAddr,
    pub(crate) admin: SocketAddr,
    directory: TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Gate {
    /// A gate with a copy of this component.
    pub(crate) async fn start(component: &str) -> Self {
        Self::start_with(component, |_| {}).await
    }

    /// A gate with a copy of this component and a changed configuration.
    pub(crate) async fn start_with(component: &str, change: impl FnOnce(&mut Config)) -> Self {
        let directory = TempDir::new().unwrap();
        fs::copy(component, directory.path().join("policy.wasm")).unwrap();
        Self::start_in(directory, change).await
    }

    /// A gate on a directory that holds `policy.wasm`.
    pub(crate) async fn start_in(directory: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.policy.file = Some(directory.path().join("policy.wasm"));
        config.policy.settings.set("signature-keys", KEY.to_owned());
        config.policy.settings.set("clients", OPERATOR.to_owned());
        config.listen = ([127, 0, 0, 1], 0).into();
        config.admin_listen = ([127, 0, 0, 1], 0).into();
        // So that a loaded machine fails no test. Where the deadline matters, the test sets it.
        config.limits.deadline = Duration::from_secs(20);
        change(&mut config);
        let listeners = Listeners::bind(&config).unwrap();
        let (logins, admin) = (listeners.logins.local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async {
            let ended = serve(config, listeners, async { drop(stopped.await) }).await;
            ended.inspect_err(|error| eprintln!("the gate ended: {error:?}"))
        });
        let gate = Self { logins, admin, directory, stop: Some(stop), serving };
        gate.until("it is ready", |status| status["policy"]["generation"] == 1).await;
        gate
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn policy_file(&self) -> PathBuf {
        self.directory.path().join("policy.wasm")
    }

    /// Copies a component over the policy file, as `cp` does it: in place.
    pub(crate) fn write_policy(&self, component: &[u8]) {
        fs::write(self.policy_file(), component).unwrap();
    }

    /// Puts a component in the place of the policy file, in one step.
    pub(crate) fn rename_policy(&self, component: &[u8]) {
        let new = self.directory.path().join("policy.wasm.new");
        fs::write(&new, component).unwrap();
        fs::rename(new, self.policy_file()).unwrap();
    }

    /// What a device is told that asks now.
    pub(crate) async fn connect(&self, device: &Device) -> u16 {
        self.ask(&device.request()).await.status
    }

    pub(crate) async fn ask(&self, request: &[u8]) -> Answer {
        Connection::open(self.logins).await.ask(request).await
    }

    /// Asks for what has no body in its answer, whatever its length says.
    pub(crate) async fn ask_head(&self, request: &[u8]) -> Answer {
        let mut connection = Connection::open(self.logins).await;
        connection.send(request).await;
        connection.head().await.expect("an answer")
    }

    pub(crate) async fn status(&self) -> Value {
        Connection::open(self.admin).await.ask(&http::get("/status")).await.json()
    }

    /// Waits until the status says so, as an operator would.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            assert!(!self.serving.is_finished(), "the gate ended before {what}");
            let status = self.status().await;
            if holds(&status) {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}: {status}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn until_generation(&self, generation: u64) -> Value {
        self.until("the policy is swapped", |status| status["policy"]["generation"] == generation).await
    }

    pub(crate) async fn until_rejected(&self, count: u64) -> Value {
        self.until("the candidate is rejected", |status| status["rejected"]["count"].as_u64() >= Some(count)).await
    }

    /// Tells it to stop; returns when it has.
    pub(crate) async fn stop(mut self) {
        self.say_stop();
        self.serving.await.unwrap().unwrap();
    }

    pub(crate) fn say_stop(&mut self) {
        drop(self.stop.take());
    }
}
