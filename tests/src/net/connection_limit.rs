//! `limits.max_connections`: further connections wait in the queue and are not lost.

use std::fs;
use std::num::NonZero;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::child::{GateProcess, gate_binary, write_config};
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, EMQX, Gate, LOCKDOWN};
use crate::support::poll_until;

async fn gate_process(max_connections: usize) -> (GateProcess, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let config = write_config(directory.path(), &format!("limits.max_connections = {max_connections}\n"));
    (GateProcess::start_config(&config).await, directory)
}

/// Open connections, their limit, and those that were queued.
fn counts(connections: &Value) -> Value {
    json!([connections["open"], connections["limit"], connections["queued"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_limit_queues_excess_connections() {
    let (gate, _directory) = gate_process(2).await;
    let request = Device::valid().request();
    let mut first = Connection::open(gate.auth).await;
    let mut second = Connection::open(gate.auth).await;
    assert_eq!(first.request(&request).await.status, 200);
    assert_eq!(second.request(&request).await.status, 200);
    let connections = async || {
        let status = Connection::open(gate.admin).await.request(&get("/status")).await.json();
        status["connections"].clone()
    };
    assert_eq!(counts(&connections().await), json!([2, 2, 0]));
    let mut third = Connection::open(gate.auth).await;
    third.send(&request).await;
    let queued = async || Some(connections().await).filter(|connections| connections["queued"] != 0);
    assert_eq!(counts(&poll_until("a connection waits", queued).await), json!([2, 2, 1]));
    drop(first);
    assert_eq!(third.response().await.status, 200);
    let log = gate.stop().await;
    assert_eq!(log.matches("connection limit reached").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_answers_queued_connections() {
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.limits.max_connections = NonZero::<usize>::MIN;
        config.broker = vec![EMQX];
    })
    .await;
    let request = Device::valid().request_to("/emqx/auth");
    let mut first = Connection::open(gate.auth).await;
    assert_eq!(first.request(&request).await.status, 200);
    let mut queued = Connection::open(gate.auth).await;
    queued.send(&request).await;
    gate.wait_until("a connection waits", |status| status["connections"]["queued"] == 1).await;
    let mut invalid = Connection::open(gate.auth).await;
    invalid.send(b"GET /emqx/auth no no\r\n\r\n").await;
    // The gate reads both only after the shutdown begins.
    let (response, rejection, ()) = tokio::join!(queued.response(), invalid.response(), gate.stop());
    assert_eq!((response.status, rejection.status, rejection.result().as_str()), (200, 200, "deny"));
    assert!(invalid.try_response().await.is_none(), "the connection closes without a reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_rejects_queued_invalid_http_without_errors() {
    let (gate, _directory) = gate_process(1).await;
    let mut first = Connection::open(gate.auth).await;
    assert_eq!(first.request(&Device::valid().request()).await.status, 200);
    let overlong = get(&format!("/emqx/auth?clientid={}", "x".repeat(70_000)));
    let mut queued = Vec::new();
    for _ in 0..5 {
        let mut connection = Connection::open(gate.auth).await;
        connection.send(&overlong).await;
        queued.push(connection);
    }
    gate.terminate();
    for connection in &mut queued {
        let response = connection.response().await;
        assert_eq!((response.status, response.result().as_str()), (200, "deny"));
        assert!(connection.try_response().await.is_none());
    }
    let (code, _, log) = gate.wait_exit().await;
    assert_eq!(code, Some(0));
    assert!(!log.contains("ERROR"), "{log}");
}

/// Idle connections take all places that a small limit of open files has. The operator still gets in.
#[tokio::test(flavor = "multi_thread")]
async fn operators_get_in_when_connections_take_all_open_files() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.wasm");
    fs::copy(AUTH_CORE, &policy).unwrap();
    let settings = "policy.settings = { signature-keys = { env = \"MQTT_SIGNATURE_KEY\" }, clients = \"\" }";
    let config = write_config(directory.path(), &format!("policy.file = {policy:?}\n{settings}"));
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""]).arg(gate_binary()).args(["serve", "--config"]);
    command.arg(config).env("MQTT_SIGNATURE_KEY", KEY);
    let gate = GateProcess::start(&mut command).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(Connection::open(gate.auth).await);
    }
    let status = async || Connection::open(gate.admin).await.request(&get("/status")).await.json();
    let is_full = async || Some(status().await).filter(|status| status["connections"]["queued"] == 1);
    let full = poll_until("all places are taken", is_full).await;
    assert_eq!((&full["connections"]["open"], &full["connections"]["limit"]), (&json!(128), &json!(128)));
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(Connection::open(gate.admin).await.request(&get(path)).await.status, 200, "{path}");
    }
    fs::copy(LOCKDOWN, &policy).unwrap();
    let is_swapped = async || (status().await["policy"]["name"] == "lockdown").then_some(());
    poll_until("the policy is swapped", is_swapped).await;
    drop(idle);
    let log = gate.stop().await;
    assert!(!log.contains("cannot accept connection"), "{log}");
}
