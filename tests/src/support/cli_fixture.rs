//! Who operates a gate: its configuration, and the verbs that change what serves.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::child::{mqtt_gate, run};
use crate::support::device::KEY;
use crate::support::in_process::{AUTH_CORE, Gate, OPERATOR};

/// A gate that runs, and its operator with the configuration of the same settings.
pub(crate) struct Site {
    pub(crate) gate: Gate,
    pub(crate) operator: Operator,
}

/// Who swaps, and by which flags.
pub(crate) struct Operator {
    pub(crate) directory: TempDir,
    pub(crate) policy: PathBuf,
    pub(crate) admin: String,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut mqtt_gate::config::Config)) -> Self {
        let gate = Gate::start_with(AUTH_CORE, change).await;
        let operator = Operator::of(&gate, gate.policy_file());
        Self { gate, operator }
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.gate.policy_file()
    }

    pub(crate) fn previous(&self) -> PathBuf {
        self.gate.directory().join("policy.wasm.previous")
    }

    /// Nothing but the policy and the one before lies there.
    pub(crate) fn assert_tidy(&self) {
        for entry in fs::read_dir(self.gate.directory()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(name == "policy.wasm" || name == "policy.wasm.previous", "{name:?} is left");
        }
    }
}

impl Operator {
    pub(crate) fn of(gate: &Gate, policy: PathBuf) -> Self {
        let directory = TempDir::new().unwrap();
        let text = format!(
            "admin_listen = \"{}\"\npolicy.file = {policy:?}\nlimits.deadline = \"20s\"\n\
             policy.settings = {{ signature-keys = {KEY:?}, clients = {OPERATOR:?} }}",
            gate.admin
        );
        fs::write(directory.path().join("gate.toml"), text).unwrap();
        Self { directory, policy, admin: gate.admin.to_string() }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = mqtt_gate(arguments.iter().copied());
        command.arg("--config").arg(self.directory.path().join("gate.toml"));
        command
    }

    /// The exit code, what was printed as JSON, and the complaint.
    pub(crate) async fn swap(&self, file: &str) -> (Option<i32>, Value, String) {
        told(run(&mut self.command(&["swap", file, "--json"])).await)
    }

    pub(crate) async fn rollback(&self) -> (Option<i32>, Value, String) {
        told(run(&mut self.command(&["rollback", "--json"])).await)
    }
}

pub(crate) fn told((code, printed, error): (Option<i32>, String, String)) -> (Option<i32>, Value, String) {
    assert!(!error.contains(KEY) && error.lines().count() <= 1, "{error}");
    (code, serde_json::from_str(&printed).unwrap_or_default(), error)
}
