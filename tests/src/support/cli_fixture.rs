//! A gate beside a command line that has the same settings, for the commands that swap its policy.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::child::{mqtt_gate, run, write_config};
use crate::support::device::KEY;
use crate::support::in_process::{AUTH_CORE, Gate, OPERATOR};

/// A serving gate, and a command line configured for it.
pub(crate) struct SwapFixture {
    pub(crate) gate: Gate,
    pub(crate) cli: Cli,
}

/// The command line of an operator.
pub(crate) struct Cli {
    pub(crate) directory: TempDir,
    pub(crate) policy: PathBuf,
    pub(crate) admin: String,
}

impl SwapFixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Changes the configuration of the gate; the command line keeps the original one.
    pub(crate) async fn start_with(change: impl FnOnce(&mut mqtt_gate::config::Config)) -> Self {
        let gate = Gate::start_with(AUTH_CORE, change).await;
        let cli = Cli::for_gate(&gate, gate.policy_file());
        Self { gate, cli }
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.gate.policy_file()
    }

    pub(crate) fn previous(&self) -> PathBuf {
        self.gate.directory().join("policy.wasm.previous")
    }

    /// Asserts that the directory holds the policy and the previous one only.
    pub(crate) fn assert_no_leftovers(&self) {
        for entry in fs::read_dir(self.gate.directory()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(name == "policy.wasm" || name == "policy.wasm.previous", "{name:?} is left over");
        }
    }
}

impl Cli {
    pub(crate) fn for_gate(gate: &Gate, policy: PathBuf) -> Self {
        let directory = TempDir::new().unwrap();
        let text = format!(
            "admin_listen = \"{}\"\npolicy.file = {policy:?}\nlimits.policy_timeout = \"20s\"\n\
             policy.settings = {{ signature-keys = {KEY:?}, clients = {OPERATOR:?} }}",
            gate.admin
        );
        write_config(directory.path(), &text);
        Self { directory, policy, admin: gate.admin.to_string() }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = mqtt_gate(arguments.iter().copied());
        command.arg("--config").arg(self.directory.path().join("gate.toml"));
        command
    }

    /// Runs `swap --json`: the exit code, the report and the error.
    pub(crate) async fn swap(&self, file: &str) -> (Option<i32>, Value, String) {
        run_json(&mut self.command(&["swap", file, "--json"])).await
    }

    /// Runs `rollback --json`: the exit code, the report and the error.
    pub(crate) async fn rollback(&self) -> (Option<i32>, Value, String) {
        run_json(&mut self.command(&["rollback", "--json"])).await
    }
}

/// Runs a command that prints JSON; `null` if it prints nothing. Its error has at most one line and shows no key.
pub(crate) async fn run_json(command: &mut Command) -> (Option<i32>, Value, String) {
    let (code, printed, error) = run(command).await;
    assert!(!error.contains(KEY) && error.lines().count() <= 1, "{error}");
    (code, serde_json::from_str(&printed).unwrap_or_default(), error)
}

/// Parses the one line that a command prints with `--json`.
pub(crate) fn json_line(printed: &str) -> Value {
    assert_eq!(printed.lines().count(), 1, "{printed}");
    serde_json::from_str(printed).unwrap()
}
