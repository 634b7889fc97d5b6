//! The program as a process: started, spoken to, ended.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The program, built from the sources that the tests are built from.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = std::process::Command::new(env!("CARGO"))
            .args(["build", "--workspace", "--bin", "mqtt-gate", "--locked", "--message-format", "json"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let messages = built.stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let mut programs = messages.filter_map(|message: Value| Some(message["executable"].as_str()?.into()));
        programs.next_back().expect("cargo says where the program is")
    })
}

pub(crate) fn mqtt_gate<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .env_remove("MQTT_SIGNATURE_KEY")
        .env_remove("MQTT_GATE_ADMIN_TOKEN")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

pub(crate) async fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Runs it with this on its standard input.
pub(crate) async fn run_with(command: &mut Command, input: &[u8]) -> (Option<i32>, String, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who reads none of it may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input).await;
    let Output { status, stdout, stderr } = child.wait_with_output().await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A gate that runs as a process, and its log.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// Read all along, so that the program never waits to write it.
    log: JoinHandle<()>,
    logged: Arc<Mutex<String>>,
    pub(crate) logins: SocketAddr,
    pub(crate) admin: SocketAddr,
    _directory: TempDir,
}

impl Running {
    pub(crate) async fn start(command: &mut Command) -> Self {
        let directory = TempDir::new().unwrap();
        if !command.as_std().get_args().any(|argument| argument == "--config") {
            // So that a loaded machine fails no test. Where the deadline matters, the test has a configuration.
            let config = directory.path().join("gate.toml");
            fs::write(&config, "limits.deadline = \"20s\"").unwrap();
            command.arg("--config").arg(config);
        }
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line = log.next_line().await.unwrap().expect("the gate should serve");
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a log line: {line}"));
            if line["message"] == "serving" {
                let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
                let (logins, admin) = (address("listen"), address("admin"));
                let logged = Arc::default();
                let log = tokio::spawn(read_all(log, Arc::clone(&logged)));
                return Self { child, log, logged, logins, admin, _directory: directory };
            }
        }
    }

    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for its end; the exit code, the rest of what it printed and the rest of its log.
    pub(crate) async fn end(self) -> (Option<i32>, String, String) {
        let Self { mut child, log, logged, .. } = self;
        let mut printed = String::new();
        let mut stdout = child.stdout.take().unwrap();
        let ended = async { tokio::join!(child.wait(), stdout.read_to_string(&mut printed), log) };
        let (status, read, _) = timeout(PATIENCE, ended).await.expect("the program ends");
        read.unwrap();
        let log = logged.lock().unwrap().clone();
        (status.unwrap().code(), printed, log)
    }

    /// Waits until the log has so many lines with this text.
    pub(crate) async fn until_logged(&self, text: &str, count: usize) {
        let logged = || self.logged.lock().unwrap().lines().filter(|line| line.contains(text)).count();
        let wait = async {
            while logged() < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain for `{text}` in the log"));
    }
}

async fn read_all(mut lines: Lines<BufReader<ChildStderr>>, logged: Arc<Mutex<String>>) {
    while let Some(line) = lines.next_line().await.unwrap() {
        *logged.lock().unwrap() += &format!("{line}\n");
    }
}

/// Longer than anything takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
