//! Envoy with the WebAssembly filter and the shipped configuration, started for one test.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::device::KEY;
use crate::support::http::{self, Connection};
use crate::support::output::Output;
use crate::support::{poll_until, target_dir};

const SHIPPED: &str = include_str!("../../../deploy/envoy.yaml");

/// The two listeners of the shipped configuration.
pub(crate) const HTTP: &str = "mqtt-gate-http";
pub(crate) const MQTT: &str = "mqtt-gate-mqtt";

/// An Envoy that runs until this value is dropped.
pub(crate) struct Envoy {
    /// Port of the listener under test.
    pub(crate) port: u16,
    pub(crate) log: Output,
    admin: SocketAddr,
    _process: Child,
    _directory: TempDir,
}

impl Envoy {
    /// Envoy as an auth service for brokers, with these policy settings.
    pub(crate) async fn http(settings: &[(&str, &str)]) -> Self {
        let mut bootstrap = Bootstrap::for_tests();
        bootstrap.change(HTTP, |plugin| plugin["settings"] = object(settings));
        Self::start(bootstrap, HTTP).await
    }

    /// Envoy in front of a broker, with these policy settings.
    pub(crate) async fn mqtt(settings: &[(&str, &str)], broker: u16) -> Self {
        let mut bootstrap = Bootstrap::for_tests();
        bootstrap.change(MQTT, |plugin| plugin["settings"] = object(settings));
        bootstrap.broker(broker);
        Self::start(bootstrap, MQTT).await
    }

    /// Starts Envoy; `listener` is the one under test.
    pub(crate) async fn start(bootstrap: Bootstrap, listener: &str) -> Self {
        Self::try_start(bootstrap, listener).await.unwrap_or_else(|log| panic!("Envoy ended: {}", log.text()))
    }

    /// As [`Self::start`]; the log if Envoy does not start.
    pub(crate) async fn try_start(bootstrap: Bootstrap, listener: &str) -> Result<Self, Output> {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("envoy.json"), bootstrap.0.to_string()).unwrap();
        let mut envoy = Command::new(target_dir().join("envoy/bin/envoy"));
        envoy
            .arg("-c")
            .arg(path("envoy.json"))
            .arg("--admin-address-path")
            .arg(path("admin"))
            .args(["--concurrency", "2", "--use-dynamic-base-id", "--disable-hot-restart"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut process = envoy.spawn().unwrap_or_else(|error| {
            panic!("Envoy is not installed: run `make test`, which installs it into the target directory ({error})")
        });
        let log = Output::capture(process.stderr.take().unwrap());
        if !log.wait_for_or_eof("starting main dispatch loop").await {
            return Err(log);
        }
        let admin = admin_address(&path("admin")).await;
        let mut envoy = Self { port: 0, log, admin, _process: process, _directory: directory };
        envoy.port = envoy.listener_port(listener).await;
        Ok(envoy)
    }

    async fn listener_port(&self, name: &str) -> u16 {
        let listeners = Connection::open(self.admin).await.request(&http::get("/listeners?format=json")).await.json();
        let listeners = listeners["listener_statuses"].as_array().unwrap().clone();
        let listener = listeners.iter().find(|listener| listener["name"] == name).expect("the listener");
        let port = listener["local_address"]["socket_address"]["port_value"].as_u64().unwrap();
        u16::try_from(port).unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The value of one statistic.
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        let stats = Connection::open(self.admin).await.request(&http::get(&format!("/stats?filter=^{name}$"))).await;
        let (_, value) = stats.text().trim().rsplit_once(": ").unwrap_or_else(|| panic!("no statistic {name}"));
        value.parse().unwrap()
    }

    /// Waits until a statistic has this value.
    pub(crate) async fn wait_for_stat(&self, name: &str, value: u64) {
        let what = format!("{name} is {value}");
        poll_until(&what, async || (self.stat(name).await == value).then_some(())).await;
    }

    /// Number of connections to the broker since the start.
    pub(crate) async fn broker_connections(&self) -> u64 {
        self.stat("cluster.broker.upstream_cx_total").await
    }

    /// Asserts that no filter has trapped: Envoy reloads a filter that has.
    pub(crate) async fn assert_no_filter_crash(&self) {
        for filter in [HTTP, MQTT] {
            assert_eq!(self.stat(&format!("wasm.{filter}.vm_reload")).await, 0, "{}", self.log.text());
        }
    }
}

/// Address of the admin interface, which Envoy writes to `file`.
async fn admin_address(file: &Path) -> SocketAddr {
    let address = async || fs::read_to_string(file).unwrap_or_default().trim().parse().ok();
    poll_until("Envoy reports the address of its admin interface", address).await
}

/// An Envoy configuration.
pub(crate) struct Bootstrap(Value);

impl Bootstrap {
    /// The shipped file.
    pub(crate) fn shipped() -> Self {
        Self(serde_saphyr::from_str(SHIPPED).unwrap())
    }

    /// The shipped file with free ports, the filter that was built, and the key of the tests.
    pub(crate) fn for_tests() -> Self {
        let mut bootstrap = Self::shipped();
        bootstrap.0["admin"] = json!({ "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } });
        for listener in [HTTP, MQTT] {
            bootstrap.listener(listener)["address"]["socket_address"] =
                json!({ "address": "127.0.0.1", "port_value": 0 });
            bootstrap.plugin(listener)["vm_config"]["code"]["local"]["filename"] = env!("ENVOY_FILTER").into();
            bootstrap.change(listener, |plugin| plugin["settings"]["signature-keys"] = KEY.into());
        }
        bootstrap
    }

    /// Changes the configuration of the filter of a listener.
    pub(crate) fn change(&mut self, listener: &str, change: impl FnOnce(&mut Value)) {
        let text = &mut self.plugin(listener)["configuration"]["value"];
        let mut plugin = serde_json::from_str(text.as_str().unwrap()).unwrap();
        change(&mut plugin);
        *text = plugin.to_string().into();
    }

    /// Forwards allowed clients to a broker on this port.
    pub(crate) fn broker(&mut self, port: u16) {
        let broker = named(&mut self.0["static_resources"]["clusters"], "broker");
        broker["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"] =
            json!({ "address": "127.0.0.1", "port_value": port });
        // With a thousand clients at once the accept queue overflows, and the kernel retries with growing delays.
        broker["connect_timeout"] = json!("60s");
    }

    pub(crate) fn listener(&mut self, name: &str) -> &mut Value {
        named(&mut self.0["static_resources"]["listeners"], name)
    }

    fn plugin(&mut self, listener: &str) -> &mut Value {
        let chain = &mut self.listener(listener)["filter_chains"][0]["filters"];
        let filters = if listener == HTTP { &mut chain[0]["typed_config"]["http_filters"] } else { chain };
        &mut named(filters, "mqtt-gate")["typed_config"]["config"]
    }
}

fn named<'a>(list: &'a mut Value, name: &str) -> &'a mut Value {
    let list = list.as_array_mut().unwrap();
    list.iter_mut().find(|item| item["name"] == name).unwrap_or_else(|| panic!("{name} in deploy/envoy.yaml"))
}

fn object(settings: &[(&str, &str)]) -> Value {
    settings.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
}
