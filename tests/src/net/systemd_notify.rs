//! The service manager is told how the gate is, and only what is so.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::support::child::{PATIENCE, Running, run};
use crate::support::device::Device;
use crate::support::fake_systemd::Manager;
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, LOCKDOWN, MISBEHAVING};

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_hears_what_serves_and_that_the_gate_stops() {
    let manager = Manager::new();
    let policy = manager.file("policy.wasm");
    let config = manager.file("gate.toml");
    fs::copy(AUTH_CORE, &policy).unwrap();
    let settings = "policy.settings = { signature-keys = { env = \"MQTT_SIGNATURE_KEY\" }, clients = \"\" }";
    fs::write(&config, format!("policy.file = {policy:?}\n{settings}")).unwrap();
    let gate = Running::start(&mut manager.serve(&["--config", config.to_str().unwrap()])).await;
    let digest = async || {
        let status = Connection::open(manager.admin()).await.ask(&get("/status")).await.json();
        status["policy"]["sha256"].as_str().unwrap().to_owned()
    };
    let ready = manager.notice().await;
    let serving = format!("STATUS=serving auth-core, sha256 {}, generation 1", digest().await);
    assert_eq!(ready.lines().collect::<Vec<_>>(), ["READY=1", &serving]);

    fs::copy(LOCKDOWN, &policy).unwrap();
    let swapped = manager.notice().await;
    let serving = format!("STATUS=serving lockdown, sha256 {}, generation 2", digest().await);
    assert_eq!(swapped.lines().collect::<Vec<_>>(), [serving]);

    gate.terminate();
    assert!(manager.notice().await.starts_with("STOPPING=1\n"));
    assert_eq!(gate.end().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_has_no_policy_is_never_ready() {
    let manager = Manager::new();
    let garbage = manager.file("garbage.wasm");
    fs::write(&garbage, "garbage").unwrap();
    let (code, _, error) = run(&mut manager.serve(&["--policy", garbage.to_str().unwrap()])).await;
    assert_eq!(code, Some(64), "{error}");
    assert_eq!(manager.heard(), Vec::<String>::new());
}

/// One of two workers is kept busy for five seconds, in which the gate is silent: a timer would go on.
#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_hears_nothing_while_a_worker_stands_still() {
    let manager = Manager::new();
    let config = manager.file("gate.toml");
    let stuck = Duration::from_secs(5);
    fs::write(&config, format!("workers = 2\npolicy.file = {MISBEHAVING:?}\nlimits.deadline = \"5s\"")).unwrap();
    let mut command = manager.serve(&["--config", config.to_str().unwrap()]);
    let gate = Running::start(command.env("WATCHDOG_USEC", "200000")).await;
    for _ in 0..3 {
        manager.until_told("WATCHDOG=1").await;
    }
    let mut connection = Connection::open(manager.logins()).await;
    connection.send(&Device::causing("loop").request()).await;
    let mut longest = Duration::ZERO;
    while longest < stuck / 2 {
        let began = Instant::now();
        timeout(PATIENCE, manager.until_told("WATCHDOG=1")).await.expect("a sign of life");
        longest = longest.max(began.elapsed());
    }
    assert_eq!(connection.answer().await.status, 503);
    gate.terminate();
    manager.until_told("STOPPING=1").await;
    assert_eq!(gate.end().await.0, Some(0));
}

/// Standard error is a pipe that nobody reads: what finds no room in it is lost, and no login waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_no_login() {
    const BURSTS: usize = 100;
    let manager = Manager::new();
    let config = manager.file("gate.toml");
    fs::write(&config, "limits.deadline = \"20s\"").unwrap();
    let mut command = manager.serve(&["--config", config.to_str().unwrap()]);
    let mut gate = command.stderr(Stdio::piped()).spawn().unwrap();
    manager.until_told("READY=1").await;
    let mut connection = Connection::open(manager.logins()).await;
    // Each is a line of the log.
    let burst = Device::named("a stranger").request().repeat(100);
    for _ in 0..BURSTS {
        connection.send(&burst).await;
        for _ in 0..100 {
            assert_eq!(connection.answer().await.status, 401);
        }
    }
    let told = Connection::open(manager.admin()).await.ask(&get("/metrics")).await;
    let lost = told.text().lines().find_map(|line| line.strip_prefix("mqtt_gate_log_lines_lost_total ")).unwrap();
    assert!(lost.parse::<usize>().unwrap() > 0, "{lost}");
    let id = gate.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    assert_eq!(timeout(PATIENCE, gate.wait()).await.unwrap().unwrap().code(), Some(0));
}
