//! Notifications to systemd: readiness, status, watchdog and shutdown.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::child::{GateProcess, run, write_config};
use crate::support::device::Device;
use crate::support::fake_systemd::FakeSystemd;
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, LOCKDOWN, MISBEHAVING};
use crate::support::within_timeout;

#[tokio::test(flavor = "multi_thread")]
async fn notifies_readiness_the_active_policy_and_shutdown() {
    let systemd = FakeSystemd::new();
    let policy = systemd.file("policy.wasm");
    fs::copy(AUTH_CORE, &policy).unwrap();
    let settings = "policy.settings = { signature-keys = { env = \"MQTT_SIGNATURE_KEY\" }, clients = \"\" }";
    let config = write_config(systemd.directory(), &format!("policy.file = {policy:?}\n{settings}"));
    let gate = GateProcess::start(&mut systemd.serve(&["--config", config.to_str().unwrap()])).await;
    let digest = async || {
        let status = Connection::open(systemd.admin_address()).await.request(&get("/status")).await.json();
        status["policy"]["sha256"].as_str().unwrap().to_owned()
    };
    let ready = systemd.next_notification().await;
    let serving = format!("STATUS=serving auth-core, sha256 {}, generation 1", digest().await);
    assert_eq!(ready.lines().collect::<Vec<_>>(), ["READY=1", &serving]);

    fs::copy(LOCKDOWN, &policy).unwrap();
    let swapped = systemd.next_notification().await;
    let serving = format!("STATUS=serving lockdown, sha256 {}, generation 2", digest().await);
    assert_eq!(swapped.lines().collect::<Vec<_>>(), [serving]);

    gate.terminate();
    assert!(systemd.next_notification().await.starts_with("STOPPING=1\n"));
    assert_eq!(gate.wait_exit().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn is_never_ready_without_a_policy() {
    let systemd = FakeSystemd::new();
    let garbage = systemd.file("garbage.wasm");
    fs::write(&garbage, "garbage").unwrap();
    let (code, _, error) = run(&mut systemd.serve(&["--policy", garbage.to_str().unwrap()])).await;
    assert_eq!(code, Some(64), "{error}");
    assert_eq!(systemd.drain_notifications(), Vec::<String>::new());
}

/// How long a policy that loops blocks one of two workers.
const BLOCKED: Duration = Duration::from_secs(5);

/// The longest pause between watchdog notifications from the start of a loop to its response.
async fn longest_watchdog_pause() -> Duration {
    let systemd = FakeSystemd::new();
    let text = format!("workers = 2\npolicy.file = {MISBEHAVING:?}\nlimits.policy_timeout = \"5s\"");
    let config = write_config(systemd.directory(), &text);
    let mut command = systemd.serve(&["--config", config.to_str().unwrap()]);
    let gate = GateProcess::start(command.env("WATCHDOG_USEC", "200000")).await;
    for _ in 0..3 {
        systemd.wait_for_notification("WATCHDOG=1").await;
    }
    let mut connection = Connection::open(systemd.auth_address()).await;
    connection.send(&Device::triggering("loop").request()).await;
    let response = connection.response();
    tokio::pin!(response);
    let mut longest = Duration::ZERO;
    let mut status = None;
    while status.is_none() {
        let began = Instant::now();
        tokio::select! {
            biased;
            _ = systemd.wait_for_notification("WATCHDOG=1") => {}
            response = &mut response => status = Some(response.status),
        }
        longest = longest.max(began.elapsed());
    }
    assert_eq!(status, Some(503));
    gate.terminate();
    systemd.wait_for_notification("STOPPING=1").await;
    assert_eq!(gate.wait_exit().await.0, Some(0));
    longest
}

/// A loaded machine can deliver notifications late, which hides the pause. A new gate then tries again.
#[tokio::test(flavor = "multi_thread")]
async fn watchdog_is_silent_while_a_worker_is_blocked() {
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        if longest_watchdog_pause().await > BLOCKED / 2 {
            return;
        }
    }
    panic!("the watchdog was notified while a worker was blocked");
}

/// Standard error is a pipe without a reader: lines that do not fit are dropped, and no login waits.
#[tokio::test(flavor = "multi_thread")]
async fn unread_log_does_not_block_logins() {
    const BURSTS: usize = 100;
    let systemd = FakeSystemd::new();
    let config = write_config(systemd.directory(), "limits.policy_timeout = \"20s\"");
    let mut command = systemd.serve(&["--config", config.to_str().unwrap()]);
    let mut gate = command.stderr(Stdio::piped()).spawn().unwrap();
    systemd.wait_for_notification("READY=1").await;
    let mut connection = Connection::open(systemd.auth_address()).await;
    // Each of these logins is a line of the log.
    let burst = Device::unsigned("a stranger").request().repeat(100);
    for _ in 0..BURSTS {
        connection.send(&burst).await;
        for _ in 0..100 {
            assert_eq!(connection.response().await.status, 401);
        }
    }
    let metrics = Connection::open(systemd.admin_address()).await.request(&get("/metrics")).await;
    let dropped = metrics.text().lines().find_map(|line| line.strip_prefix("mqtt_gate_log_lines_dropped_total "));
    assert!(dropped.unwrap().parse::<usize>().unwrap() > 0, "{dropped:?}");
    let id = gate.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    let exit = within_timeout("the gate to exit", gate.wait()).await.unwrap();
    assert_eq!(exit.code(), Some(0));
}
