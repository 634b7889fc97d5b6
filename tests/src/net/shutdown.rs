//! Shutdown: requests that have arrived are answered, and idle clients do not delay the exit.

use std::time::Duration;

use tempfile::TempDir;

use crate::support::child::{GateProcess, write_config};
use crate::support::device::Device;
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate, MISBEHAVING};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_completes_requests_in_flight_and_exits_0() {
    let gate = GateProcess::start_default().await;
    let mut idle = Connection::open(gate.auth).await;
    assert_eq!(idle.request(&Device::valid().request()).await.status, 200);
    let mut busy = Connection::open(gate.auth).await;
    let request = Device::valid().request();
    let (begin, rest) = request.split_at(request.len() - 10);
    // Both arrive together, so the first response shows that the gate has read the beginning of the second request.
    busy.send(&[&request, begin].concat()).await;
    assert_eq!(busy.response().await.status, 200);
    let mut admin = Connection::open(gate.admin).await;
    assert_eq!(admin.request(&get("/readyz")).await.status, 200);

    gate.terminate();
    assert!(idle.try_response().await.is_none(), "an idle connection is closed");
    assert_eq!(admin.request(&get("/readyz")).await.status, 503);
    assert_eq!(admin.request(&get("/livez")).await.status, 200);
    busy.send(rest).await;
    assert_eq!(busy.response().await.status, 200);
    assert!(busy.try_response().await.is_none());
    let (code, _, log) = gate.wait_exit().await;
    assert_eq!(code, Some(0));
    assert!(log.contains("\"stopped\""), "{log}");
}

/// The shutdown begins when the first of many slow pipelined requests is answered.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_completes_pipelined_requests() {
    const REQUESTS: usize = 10;
    let directory = TempDir::new().unwrap();
    let limits = "limits.policy_timeout = \"250ms\"\nlimits.drain_timeout = \"60s\"";
    let config = write_config(directory.path(), &format!("policy.file = {MISBEHAVING:?}\n{limits}"));
    let gate = GateProcess::start_config(&config).await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(gate.auth).await;
        connection.send(&Device::triggering("loop").request().repeat(REQUESTS)).await;
        assert_eq!(connection.response().await.status, 503);
        connections.push(connection);
    }
    gate.terminate();
    for mut connection in connections {
        for request in 1..REQUESTS {
            let response = connection.try_response().await;
            assert_eq!(response.map(|response| response.status), Some(503), "request {request}");
        }
        assert!(connection.try_response().await.is_none());
    }
    assert_eq!(gate.wait_exit().await.0, Some(0));
}

/// The program is stopped while the connections arrive, so that it finds them together with the shutdown signal.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_answers_connections_in_the_accept_queue() {
    let gate = GateProcess::start_default().await;
    gate.signal("STOP");
    let mut connections = Vec::new();
    for _ in 0..200 {
        let mut connection = Connection::open(gate.auth).await;
        connection.send(&Device::valid().request()).await;
        connections.push(connection);
    }
    gate.terminate();
    gate.signal("CONT");
    for mut connection in connections {
        let response = connection.try_response().await;
        assert_eq!(response.map(|response| response.status), Some(200));
    }
    assert_eq!(gate.wait_exit().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_does_not_wait_for_idle_or_incomplete_requests() {
    let long = Duration::from_secs(3_600);
    let gate = Gate::start_with(AUTH_CORE, |config| {
        (config.limits.request_timeout, config.limits.drain_timeout) = (long, long);
    })
    .await;
    let request = Device::valid().request();
    let mut first_request = Connection::open(gate.auth).await;
    first_request.send(&request[..20]).await;
    let mut second_request = Connection::open(gate.auth).await;
    assert_eq!(second_request.request(&request).await.status, 200);
    second_request.send(&request[..20]).await;
    // Rejected, and the client keeps the connection open.
    let mut rejected = Connection::open(gate.auth).await;
    assert_eq!(rejected.request(b"garbage\r\n\r\n").await.status, 400);
    let _idle = Connection::open(gate.auth).await;
    gate.wait_until("all connections are open", |status| status["connections"]["open"] == 4).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_without_a_decision_log_changes_nothing() {
    let gate = GateProcess::start_default().await;
    gate.signal("HUP");
    let response = Connection::open(gate.auth).await.request(&Device::valid().request()).await;
    assert_eq!(response.status, 200);
    gate.stop().await;
}

/// Log rotation, supervisors and timers send them to other programs.
#[tokio::test(flavor = "multi_thread")]
async fn signals_for_other_programs_change_nothing() {
    let gate = GateProcess::start_default().await;
    for signal in ["USR1", "USR2", "ALRM", "IO", "PIPE"] {
        gate.signal(signal);
        let response = Connection::open(gate.auth).await.request(&Device::valid().request()).await;
        assert_eq!(response.status, 200, "{signal}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigquit_stops_the_gate_like_sigterm() {
    let gate = GateProcess::start_default().await;
    gate.signal("QUIT");
    assert_eq!(gate.wait_exit().await.0, Some(0));
}
