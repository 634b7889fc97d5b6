//! Machines with little address space or memory.

use std::fs;
use std::time::Duration;

use bytesize::ByteSize;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::support::child::{GateProcess, gate_binary, run, serve_command, write_config};
use crate::support::device::{Device, KEY};
use crate::support::http::Connection;
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING};
use crate::support::poll_until;

/// The same command, under a limit of virtual memory.
fn with_virtual_memory(gib: u64, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -v {} && exec \"$@\"", gib << 20), "sh"]);
    limited.arg(gate_binary()).args(command.as_std().get_args()).env("MQTT_SIGNATURE_KEY", KEY).kill_on_drop(true);
    limited
}

/// Asserts that a gate serves and swaps under this limit, and that it says what it does without.
async fn assert_serves_with(gib: u64, instances: u32) {
    let directory = TempDir::new().unwrap();
    let policy = directory.path().join("policy.wasm");
    fs::copy(AUTH_CORE, &policy).unwrap();
    let settings = "[policy.settings]\nsignature-keys = { env = \"MQTT_SIGNATURE_KEY\" }\nclients = \"operator\"";
    let limits = "[limits]\npolicy_timeout = \"20s\"";
    let config = write_config(directory.path(), &format!("policy.file = {policy:?}\n{settings}\n{limits}"));
    let gate = GateProcess::start(&mut with_virtual_memory(gib, &serve_command(&config))).await;
    let warning = gate.startup_log.lines().find(|line| line.contains("little address space")).expect("a warning");
    assert!(warning.contains(&format!("\"max_instances\":{instances}")), "{warning}");
    let login = async || Connection::open(gate.auth).await.request(&Device::valid().request()).await.status;
    assert_eq!(login().await, 200);
    fs::copy(LOCKDOWN, &policy).unwrap();
    poll_until("the lockdown denies", async || (login().await == 401).then_some(())).await;
    gate.stop().await;

    let arguments = ["check", "--config", config.to_str().unwrap(), AUTH_CORE];
    let mut check = Command::new(gate_binary());
    check.args(arguments);
    let (code, _, error) = run(&mut with_virtual_memory(gib, &check)).await;
    assert_eq!(code, Some(0), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_with_500_gib_of_virtual_memory() {
    assert_serves_with(500, 1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_with_16_gib_of_virtual_memory() {
    assert_serves_with(16, 256).await;
}

/// Many calls at once cannot fill the memory, and their instances do not keep it.
#[tokio::test(flavor = "multi_thread")]
async fn instances_share_a_limit_of_memory() {
    let gate = Gate::start_with(MISBEHAVING, |config| {
        config.limits.policy_timeout = Duration::from_millis(500);
        config.limits.policy_wall_timeout = Some(Duration::from_secs(20));
        config.limits.max_memory = ByteSize::kib(256);
        config.limits.max_total_policy_memory = Some(ByteSize::mib(1));
    })
    .await;
    // From the first deadline on, calls run side by side.
    assert_ne!(gate.authenticate(&Device::triggering("loop")).await, 200);
    let mut calls = JoinSet::new();
    for _ in 0..30 {
        let auth = gate.auth;
        calls.spawn(async move {
            let login = Device::triggering("loop").request();
            Connection::open(auth).await.request(&login).await.status
        });
    }
    while let Some(status) = calls.join_next().await {
        assert_ne!(status.unwrap(), 200);
    }
    let status = gate.status().await;
    assert!(status["reasons"]["pool-exhausted"].as_u64() > Some(0), "{}", status["reasons"]);
    assert_eq!(gate.authenticate(&Device::triggering("")).await, 200);
    let released = |status: &serde_json::Value| status["instances"]["memory"] == 0;
    let status = gate.wait_until("idle instances are dropped", released).await;
    assert_eq!(status["instances"]["memory_limit"], 1 << 20);
    assert_eq!(gate.authenticate(&Device::triggering("")).await, 200);
    gate.stop().await;
}
