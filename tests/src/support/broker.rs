//! Real brokers, each run for one test on free ports, with a directory of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::child::PATIENCE;
use crate::support::output::Log;

/// A broker that runs until this is dropped.
pub(crate) struct Broker {
    /// Where devices connect.
    pub(crate) port: u16,
    // In the order in which they are ended: a node first, and then what it is registered with.
    _processes: Vec<Child>,
    directory: TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        // What it complained of may be why the test has failed.
        if std::thread::panicking()
            && let Ok(errors) = fs::read_to_string(self.directory.path().join("errors"))
        {
            eprintln!("{errors}");
        }
    }
}

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/brokers");

const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// RabbitMQ with its MQTT plugin, which asks the gate about everything.
pub(crate) async fn rabbitmq(gate: SocketAddr) -> Broker {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let [port, distribution, epmd] = free_ports();
    fs::write(path("rabbitmq.conf"), rabbitmq_conf(port, gate)).unwrap();
    fs::write(path("plugins"), "[rabbitmq_mqtt,rabbitmq_auth_backend_http].").unwrap();
    ["home", "data", "log", "tmp"].iter().for_each(|name| fs::create_dir(path(name)).unwrap());

    let mut registry = Command::new("epmd");
    registry.args(["-address", "127.0.0.1", "-port", &epmd.to_string()]);
    let registry = start(&mut registry, directory.path(), "rabbitmq-server");
    let mut node = Command::new(RABBITMQ);
    node.env("HOME", path("home"))
        .env("TMPDIR", path("tmp"))
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", format!("gate{port}@localhost"))
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_CONF_ENV_FILE", path("no-such-file"))
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", format!("{EXAMPLES}/rabbitmq-advanced.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
        .env("RABBITMQ_MNESIA_BASE", path("data"))
        .env("RABBITMQ_LOG_BASE", path("log"))
        .env("RABBITMQ_PID_FILE", path("pid"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
        // The script becomes the node then, instead of staying its parent.
        .env("RUNNING_UNDER_SYSTEMD", "true");
    let mut node = start(&mut node, directory.path(), "rabbitmq-server");
    until_said(&mut node, directory.path(), "Server startup complete").await;
    Broker { port, _processes: vec![node, registry], directory }
}

/// The configuration that is shipped, on other ports.
fn rabbitmq_conf(port: u16, gate: SocketAddr) -> String {
    let shipped = shipped("rabbitmq.conf").replace("127.0.0.1:8003", &gate.to_string());
    let moved = shipped.replace("0.0.0.0:1883", &format!("127.0.0.1:{port}"));
    format!("{moved}listeners.tcp = none\nlog.console = true\nlog.console.level = info\nlog.file = false\n")
}

/// An example for a broker.
pub(crate) fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(EXAMPLES).join(name)).unwrap()
}

/// amqtt, which asks the gate by JSON or by form.
pub(crate) async fn amqtt(gate: SocketAddr, params: &str) -> Broker {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let script = format!("{EXAMPLES}/run_amqtt.py");
    let mut broker = Command::new(target().join("amqtt/bin/python"));
    broker.args([script, port.to_string(), gate.port().to_string(), params.to_owned()]).env("HOME", directory.path());
    let mut broker = start(&mut broker, directory.path(), "amqtt (tests/setup puts it into the target directory)");
    until_said(&mut broker, directory.path(), "ready").await;
    Broker { port, _processes: vec![broker], directory }
}

/// mosquitto, which lets everybody in, and what it says of who comes.
pub(crate) async fn mosquitto() -> (Broker, Log) {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let file = directory.path().join("mosquitto.conf");
    let lines = [
        &format!("listener {port} 127.0.0.1"),
        "allow_anonymous true",
        "persistence false",
        "log_dest stderr",
        "log_type all",
        "max_connections -1",
    ];
    fs::write(&file, lines.join("\n")).unwrap();
    let mut broker = Command::new("mosquitto");
    broker
        .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut broker =
        broker.spawn().unwrap_or_else(|error| panic!("install mosquitto: `make test` does it as root ({error})"));
    let log = Log::of(broker.stderr.take().unwrap());
    log.until("running").await;
    (Broker { port, _processes: vec![broker], directory }, log)
}

/// Where `make` builds.
pub(crate) fn target() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target").to_owned();
    std::env::var("CARGO_TARGET_DIR").unwrap_or(default).into()
}

/// Ports that nothing else is given before the program takes them: each once, and none of those from which the system
/// chooses for who asks for any.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Two runs at once begin at different ones.
    let began = u16::try_from(std::process::id() * 64 % u32::from(COUNT)).unwrap();
    let next = || FIRST + (began + TAKEN.fetch_add(1, Relaxed) % COUNT) % COUNT;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    [(); N].map(|()| std::iter::repeat_with(next).take(COUNT.into()).find(is_free).expect("a free port"))
}

fn start(command: &mut Command, directory: &Path, package: &str) -> Child {
    command
        .env("PATH", "/usr/bin:/bin")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(directory.join("errors")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("install {package}: `make test` does it as root ({error})"))
}

/// Waits until the program says so, and reads on after that, so that it never waits to be heard.
async fn until_said(child: &mut Child, directory: &Path, word: &str) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = timeout(PATIENCE, async {
        let mut all = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(word) {
                return;
            }
            all.push_str(&line);
            all.push('\n');
        }
        panic!("it ended: {all}{}", fs::read_to_string(directory.join("errors")).unwrap());
    });
    said.await.unwrap_or_else(|_| panic!("it never said {word:?}"));
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
}
