//! The program as a child process: built, started, signalled, waited for.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

use crate::support::device::KEY;
use crate::support::{poll_until, within_timeout};

/// Path of the program, which cargo builds from the same sources and features as the tests.
pub(crate) fn gate_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let built = std::process::Command::new(env!("CARGO"))
            .args(["build", "--workspace", "--bin", "mqtt-gate", "--locked", "--message-format", "json"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let messages = built.stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let mut binaries = messages.filter_map(|message: Value| Some(message["executable"].as_str()?.into()));
        binaries.next_back().expect("cargo reports the path of the program")
    })
}

pub(crate) fn mqtt_gate<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(gate_binary());
    command
        .args(arguments)
        .env_remove("MQTT_SIGNATURE_KEY")
        .env_remove("MQTT_GATE_ADMIN_TOKEN")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// `mqtt-gate serve` with this configuration file and the key of the tests.
pub(crate) fn serve_command(config: &Path) -> Command {
    let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap()]);
    command.env("MQTT_SIGNATURE_KEY", KEY);
    command
}

/// Writes `gate.toml` into a directory.
pub(crate) fn write_config(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("gate.toml");
    fs::write(&path, text).unwrap();
    path
}

/// Runs a command to its end: the exit code, standard output and standard error.
pub(crate) async fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = within_timeout("the command to end", command.output()).await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Runs a command with `input` on standard input.
pub(crate) async fn run_with_stdin(command: &mut Command, input: &[u8]) -> (Option<i32>, String, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input).await;
    let output = within_timeout("the command to end", child.wait_with_output()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Runs `mqtt-gate serve` with a configuration that is expected to be rejected: the exit code and the error.
pub(crate) async fn run_rejected(command: &mut Command) -> (Option<i32>, String) {
    let (code, _, error) = run(command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])).await;
    (code, error)
}

/// A serving gate as a child process, with its captured log.
pub(crate) struct GateProcess {
    pub(crate) child: Child,
    /// Reads the log all the time, so that the program never blocks on a full pipe.
    log_reader: JoinHandle<()>,
    log: Arc<Mutex<String>>,
    /// The log before `serving`.
    pub(crate) startup_log: String,
    pub(crate) auth: SocketAddr,
    pub(crate) admin: SocketAddr,
    _directory: TempDir,
}

impl GateProcess {
    /// Starts a gate without a configuration file.
    pub(crate) async fn start_default() -> Self {
        Self::start(mqtt_gate(["serve"]).env("MQTT_SIGNATURE_KEY", KEY)).await
    }

    /// Starts a gate with this configuration file.
    pub(crate) async fn start_config(config: &Path) -> Self {
        Self::start(&mut serve_command(config)).await
    }

    pub(crate) async fn start(command: &mut Command) -> Self {
        let directory = TempDir::new().unwrap();
        if !command.as_std().get_args().any(|argument| argument == "--config") {
            // A loaded machine must not fail a test. Tests about the timeout have a configuration.
            let config = write_config(directory.path(), "limits.policy_timeout = \"20s\"");
            command.arg("--config").arg(config);
        }
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut startup_log = String::new();
        let serving = within_timeout("the gate to serve", async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the gate serves");
                startup_log += &format!("{line}\n");
                let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a log line: {line}"));
                if line["message"] == "serving" {
                    return line;
                }
            }
        });
        let serving = serving.await;
        // Several addresses are separated by commas. The first one will do.
        let address = |name: &str| serving[name].as_str().unwrap().split(", ").next().unwrap().parse().unwrap();
        let (auth, admin) = (address("listen"), address("admin"));
        let log = Arc::default();
        let log_reader = tokio::spawn(capture(lines, Arc::clone(&log)));
        Self { child, log_reader, log, startup_log, auth, admin, _directory: directory }
    }

    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for the exit: the exit code, the rest of standard output, and the log after `serving`.
    pub(crate) async fn wait_exit(self) -> (Option<i32>, String, String) {
        let Self { mut child, log_reader, log, .. } = self;
        let mut printed = String::new();
        let mut stdout = child.stdout.take().unwrap();
        let exited = async { tokio::join!(child.wait(), stdout.read_to_string(&mut printed), log_reader) };
        let (status, read, _) = within_timeout("the program to exit", exited).await;
        read.unwrap();
        let log = log.lock().unwrap().clone();
        (status.unwrap().code(), printed, log)
    }

    /// Terminates the gate, expects exit code 0, and returns the log.
    pub(crate) async fn stop(self) -> String {
        self.terminate();
        let (code, _, log) = self.wait_exit().await;
        assert_eq!(code, Some(0), "{log}");
        log
    }

    /// Waits until `count` lines of the log contain `text`.
    pub(crate) async fn wait_for_log(&self, text: &str, count: usize) {
        let lines = || self.log.lock().unwrap().lines().filter(|line| line.contains(text)).count();
        poll_until(&format!("the log has {text:?}"), async || (lines() >= count).then_some(())).await;
    }
}

async fn capture(mut lines: Lines<BufReader<ChildStderr>>, log: Arc<Mutex<String>>) {
    while let Some(line) = lines.next_line().await.unwrap() {
        *log.lock().unwrap() += &format!("{line}\n");
    }
}
