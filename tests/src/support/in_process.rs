//! A gate in the test's own process, on free ports, with its own policy file.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use brokers::BrokerKind;
use mqtt_gate::config::{BrokerConfig, Config};
use mqtt_gate::{Listeners, ServeError, Server};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::device::{Device, KEY};
use crate::support::http::{self, Connection, Response};
use crate::support::{poll_until, within_timeout};

pub(crate) const AUTH_CORE: &str = env!("AUTH_CORE");
pub(crate) const LOCKDOWN: &str = env!("LOCKDOWN");

/// The policy that denies revoked clients.
pub(crate) const REVOKED: &str = env!("REVOKED");

/// The policy for JSON Web Tokens.
pub(crate) const JWT: &str = env!("JWT");
pub(crate) const MISBEHAVING: &str = env!("MISBEHAVING");
pub(crate) const PLAIN: &str = env!("PLAIN");

/// A gate that only EMQX asks.
pub(crate) const EMQX: BrokerConfig = BrokerConfig::of_kind(BrokerKind::Emqx);

/// The client id that the lockdown policy allows.
pub(crate) const OPERATOR: &str = "operator";

pub(crate) struct Gate {
    /// Address for brokers.
    pub(crate) auth: SocketAddr,
    /// Address for operators.
    pub(crate) admin: SocketAddr,
    directory: TempDir,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), ServeError>>,
}

/// How often the gate looks at its files without an event. Short, so that no test waits for the two seconds of a real one.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Configures a gate for tests. Everything that makes tests faster or independent of the machine's load is set here.
fn test_config(policy: PathBuf) -> Config {
    let mut config = Config::default();
    config.policy.first.file = Some(policy);
    config.policy.first.settings.set("signature-keys", KEY.to_owned());
    config.policy.first.settings.set("clients", OPERATOR.to_owned());
    config.listen = ([127, 0, 0, 1], 0).into();
    config.admin_listen = ([127, 0, 0, 1], 0).into();
    // A loaded machine must not fail a test. Tests about the timeout set their own.
    config.limits.policy_timeout = Duration::from_secs(20);
    config
}

impl Gate {
    /// Starts a gate on a copy of `component`.
    pub(crate) async fn start(component: &str) -> Self {
        Self::start_with(component, |_| {}).await
    }

    /// Starts a gate on a copy of `component`, with a changed configuration.
    pub(crate) async fn start_with(component: &str, change: impl FnOnce(&mut Config)) -> Self {
        let directory = TempDir::new().unwrap();
        fs::copy(component, directory.path().join("policy.wasm")).unwrap();
        Self::start_in(directory, change).await
    }

    /// Starts a gate on a directory that holds `policy.wasm`.
    pub(crate) async fn start_in(directory: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = test_config(directory.path().join("policy.wasm"));
        change(&mut config);
        let listeners = Listeners::bind(&config).unwrap();
        let (auth, admin) = (listeners.auth[0].local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let (shutdown, signal) = oneshot::channel();
        let serving = tokio::spawn(async {
            let server = Server::prepare(config).map(|server| server.with_poll_interval(POLL_INTERVAL));
            let result = match server {
                Ok(server) => server.serve(listeners, async { drop(signal.await) }).await,
                Err(error) => Err(error),
            };
            result.inspect_err(|error| eprintln!("the gate stopped: {error:?}"))
        });
        let gate = Self { auth, admin, directory, shutdown: Some(shutdown), serving };
        gate.wait_until("the gate is ready", |status| status["policy"]["generation"] == 1).await;
        gate
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn policy_file(&self) -> PathBuf {
        self.directory.path().join("policy.wasm")
    }

    /// Overwrites the policy file in place, as `cp` does.
    pub(crate) fn write_policy(&self, component: &[u8]) {
        fs::write(self.policy_file(), component).unwrap();
    }

    /// Replaces the policy file atomically, as `mv` does.
    pub(crate) fn rename_policy(&self, component: &[u8]) {
        let new = self.directory.path().join("policy.wasm.new");
        fs::write(&new, component).unwrap();
        fs::rename(new, self.policy_file()).unwrap();
    }

    /// Status code of a login of `device` by `/mqtt/auth`.
    pub(crate) async fn authenticate(&self, device: &Device) -> u16 {
        self.request(&device.request()).await.status
    }

    /// Sends a request on a new connection.
    pub(crate) async fn request(&self, request: &[u8]) -> Response {
        Connection::open(self.auth).await.request(request).await
    }

    /// Sends a request whose response has no body, whatever its content-length says.
    pub(crate) async fn request_head(&self, request: &[u8]) -> Response {
        let mut connection = Connection::open(self.auth).await;
        connection.send(request).await;
        connection.response_head().await.expect("a response")
    }

    pub(crate) async fn status(&self) -> Value {
        Connection::open(self.admin).await.request(&http::get("/status")).await.json()
    }

    /// Polls `/status` until `condition` holds.
    pub(crate) async fn wait_until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        poll_until(what, async || {
            assert!(!self.serving.is_finished(), "the gate stopped before {what}");
            let status = self.status().await;
            condition(&status).then_some(status)
        })
        .await
    }

    pub(crate) async fn wait_for_generation(&self, generation: u64) -> Value {
        self.wait_until("the policy is swapped", |status| status["policy"]["generation"] == generation).await
    }

    pub(crate) async fn wait_for_rejection(&self, count: u64) -> Value {
        self.wait_until("the policy is rejected", |status| status["rejected"]["count"].as_u64() >= Some(count)).await
    }

    /// Shuts the gate down and waits until it has stopped.
    pub(crate) async fn stop(mut self) {
        self.begin_shutdown();
        within_timeout("the gate to stop", self.serving).await.unwrap().unwrap();
    }

    pub(crate) fn begin_shutdown(&mut self) {
        drop(self.shutdown.take());
    }
}
