//! Real brokers, each started for one test on free ports, in a temporary directory.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::output::Output;
use crate::support::{free_ports, target_dir, within_timeout};

/// A broker that runs until this value is dropped.
pub(crate) struct Broker {
    /// Port for MQTT clients.
    pub(crate) port: u16,
    // Killed in this order: the node before the epmd that it is registered with.
    _processes: Vec<Child>,
    directory: TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The errors of the broker often explain why the test failed.
        if std::thread::panicking()
            && let Ok(errors) = fs::read_to_string(self.directory.path().join("errors"))
        {
            eprintln!("{errors}");
        }
    }
}

/// The broker configurations that the project ships.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/brokers");

const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// RabbitMQ with its MQTT plugin and the shipped configuration, which sends every check to the gate.
pub(crate) async fn rabbitmq(gate: SocketAddr) -> Broker {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let [port, distribution, epmd] = free_ports();
    fs::write(path("rabbitmq.conf"), rabbitmq_conf(port, gate)).unwrap();
    fs::write(path("plugins"), "[rabbitmq_mqtt,rabbitmq_auth_backend_http].").unwrap();
    ["home", "data", "log", "tmp"].iter().for_each(|name| fs::create_dir(path(name)).unwrap());

    let mut epmd_command = Command::new("epmd");
    epmd_command.args(["-address", "127.0.0.1", "-port", &epmd.to_string()]);
    let epmd_process = start(&mut epmd_command, directory.path(), "rabbitmq-server");
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
        // Makes the start script exec the node instead of staying its parent.
        .env("RUNNING_UNDER_SYSTEMD", "true");
    let mut node = start(&mut node, directory.path(), "rabbitmq-server");
    wait_for_line(&mut node, directory.path(), "Server startup complete").await;
    Broker { port, _processes: vec![node, epmd_process], directory }
}

/// The shipped configuration with the ports of this test.
fn rabbitmq_conf(port: u16, gate: SocketAddr) -> String {
    let conf = example_config("rabbitmq.conf").replace("127.0.0.1:8003", &gate.to_string());
    let conf = conf.replace("0.0.0.0:1883", &format!("127.0.0.1:{port}"));
    format!("{conf}listeners.tcp = none\nlog.console = true\nlog.console.level = info\nlog.file = false\n")
}

/// The text of a shipped broker configuration.
pub(crate) fn example_config(name: &str) -> String {
    fs::read_to_string(Path::new(EXAMPLES).join(name)).unwrap()
}

/// amqtt with the shipped plugin, which sends JSON or a form (`params`).
pub(crate) async fn amqtt(gate: SocketAddr, params: &str) -> Broker {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let script = format!("{EXAMPLES}/run_amqtt.py");
    let mut broker = Command::new(target_dir().join("amqtt/bin/python"));
    broker.args([script, port.to_string(), gate.port().to_string(), params.to_owned()]).env("HOME", directory.path());
    let mut broker = start(&mut broker, directory.path(), "amqtt (tests/setup puts it into the target directory)");
    wait_for_line(&mut broker, directory.path(), "ready").await;
    Broker { port, _processes: vec![broker], directory }
}

/// mosquitto without access control, and its log of connections.
pub(crate) async fn mosquitto() -> (Broker, Output) {
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
    let log = Output::capture(broker.stderr.take().unwrap());
    log.wait_for("running").await;
    (Broker { port, _processes: vec![broker], directory }, log)
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

/// Waits for a line of standard output that contains `text`, and keeps reading, so that the program never blocks.
async fn wait_for_line(child: &mut Child, directory: &Path, text: &str) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let found = async {
        let mut all = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(text) {
                return;
            }
            all.push_str(&line);
            all.push('\n');
        }
        panic!("the program ended: {all}{}", fs::read_to_string(directory.join("errors")).unwrap());
    };
    within_timeout(&format!("{text:?} in the output"), found).await;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
}
