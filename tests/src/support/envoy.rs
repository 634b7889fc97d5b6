//! A real Envoy with the filter in it, by the configuration that is shipped, for one test.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::support::broker::target;
use crate::support::child::PATIENCE;
use crate::support::device::KEY;
use crate::support::http::{self, Connection};
use crate::support::output::Log;

const SHIPPED: &str = include_str!("../../../deploy/envoy.yaml");

/// The two listeners of the shipped file.
pub(crate) const HTTP: &str = "mqtt-gate-http";
pub(crate) const MQTT: &str = "mqtt-gate-mqtt";

/// An Envoy that runs until this is dropped.
pub(crate) struct Envoy {
    /// Where brokers ask, or where devices connect.
    pub(crate) port: u16,
    /// What it says.
    pub(crate) log: Log,
    admin: SocketAddr,
    _process: Child,
    _directory: TempDir,
}

impl Envoy {
    /// One that answers brokers, by these settings.
    pub(crate) async fn http(settings: &[(&str, &str)]) -> Self {
        let mut bootstrap = Bootstrap::shipped();
        bootstrap.change(HTTP, |plugin| plugin["settings"] = object(settings));
        Self::start(bootstrap, HTTP).await
    }

    /// One that stands in front of a broker, by these settings.
    pub(crate) async fn mqtt(settings: &[(&str, &str)], broker: u16) -> Self {
        let mut bootstrap = Bootstrap::shipped();
        bootstrap.change(MQTT, |plugin| plugin["settings"] = object(settings));
        bootstrap.broker(broker);
        Self::start(bootstrap, MQTT).await
    }

    /// One of whose listeners this one is asked for.
    pub(crate) async fn start(bootstrap: Bootstrap, listener: &str) -> Self {
        Self::try_start(bootstrap, listener).await.unwrap_or_else(|log| panic!("it ended: {}", log.text()))
    }

    /// As `start`; what it said, if it ended instead.
    pub(crate) async fn try_start(bootstrap: Bootstrap, listener: &str) -> Result<Self, Log> {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("envoy.json"), bootstrap.0.to_string()).unwrap();
        let mut envoy = Command::new(target().join("envoy/bin/envoy"));
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
            panic!(
                "there is no Envoy: tests/setup puts it into the target directory, and `make test` runs that ({error})"
            )
        });
        let log = Log::of(process.stderr.take().unwrap());
        if !log.until_or_end("starting main dispatch loop").await {
            return Err(log);
        }
        let admin = admin(&path("admin")).await;
        let mut envoy = Self { port: 0, log, admin, _process: process, _directory: directory };
        envoy.port = envoy.listening(listener).await;
        Ok(envoy)
    }

    async fn listening(&self, name: &str) -> u16 {
        let listeners = Connection::open(self.admin).await.ask(&http::get("/listeners?format=json")).await.json();
        let listeners = listeners["listener_statuses"].as_array().unwrap().clone();
        let listener = listeners.iter().find(|one| one["name"] == name).expect("the listener");
        let port = listener["local_address"]["socket_address"]["port_value"].as_u64().unwrap();
        u16::try_from(port).unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// A number out of its statistics.
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        let stats = Connection::open(self.admin).await.ask(&http::get(&format!("/stats?filter=^{name}$"))).await;
        let (_, number) = stats.text().trim().rsplit_once(": ").unwrap_or_else(|| panic!("no statistic {name}"));
        number.parse().unwrap()
    }

    /// Waits until a statistic is this number.
    pub(crate) async fn until_stat(&self, name: &str, number: u64) {
        let began = Instant::now();
        loop {
            let now = self.stat(name).await;
            if now == number {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain until {name} is {number}: {now}");
            sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// How many connections to the broker there ever were.
    pub(crate) async fn broker_connections(&self) -> u64 {
        self.stat("cluster.broker.upstream_cx_total").await
    }

    /// No filter has trapped: Envoy loads one that has anew.
    pub(crate) async fn assert_unharmed(&self) {
        for filter in [HTTP, MQTT] {
            assert_eq!(self.stat(&format!("wasm.{filter}.vm_reload")).await, 0, "{}", self.log.text());
        }
    }
}

/// Where the admin interface listens, once that is written down whole.
async fn admin(file: &Path) -> SocketAddr {
    let began = Instant::now();
    loop {
        if let Ok(address) = fs::read_to_string(file).unwrap_or_default().trim().parse() {
            return address;
        }
        assert!(began.elapsed() < PATIENCE, "Envoy does not say where its admin interface is");
        sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// The shipped configuration, changed as tests need it: free ports, the filter that was built, the key of the tests.
pub(crate) struct Bootstrap(Value);

impl Bootstrap {
    /// The shipped file as it is.
    pub(crate) fn unchanged() -> Self {
        Self(serde_saphyr::from_str(SHIPPED).unwrap())
    }

    pub(crate) fn shipped() -> Self {
        let mut bootstrap = Self::unchanged();
        bootstrap.0["admin"] = json!({ "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } });
        for listener in [HTTP, MQTT] {
            bootstrap.listener(listener)["address"]["socket_address"] =
                json!({ "address": "127.0.0.1", "port_value": 0 });
            bootstrap.plugin(listener)["vm_config"]["code"]["local"]["filename"] = env!("ENVOY_FILTER").into();
            bootstrap.change(listener, |plugin| plugin["settings"]["signature-keys"] = KEY.into());
        }
        bootstrap
    }

    /// Changes the configuration of the filter on this listener.
    pub(crate) fn change(&mut self, listener: &str, change: impl FnOnce(&mut Value)) {
        let text = &mut self.plugin(listener)["configuration"]["value"];
        let mut plugin = serde_json::from_str(text.as_str().unwrap()).unwrap();
        change(&mut plugin);
        *text = plugin.to_string().into();
    }

    /// Sends those who are let in to a broker on this port.
    pub(crate) fn broker(&mut self, port: u16) {
        let broker = named(&mut self.0["static_resources"]["clusters"], "broker");
        broker["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"] =
            json!({ "address": "127.0.0.1", "port_value": port });
        // A thousand at once are more than it takes in one go, and a system tries again later and later.
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
    list.iter_mut().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name} in deploy/envoy.yaml"))
}

fn object(members: &[(&str, &str)]) -> Value {
    members.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
}
