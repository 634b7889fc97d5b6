//! `limits.max_buffered`: unfinished requests of all connections take bounded memory.

use bytesize::ByteSize;

use crate::support::child::{GateProcess, write_config};
use crate::support::device::Device;
use crate::support::http::{Connection, get, post};
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::poll_until;

const MAX_BUFFERED: usize = 1 << 20;

async fn small_gate() -> Gate {
    Gate::start_with(AUTH_CORE, |config| config.limits.max_buffered = ByteSize(MAX_BUFFERED as u64)).await
}

/// Begins `request` on many connections, and asserts that the oldest are closed and all others go on.
async fn assert_oldest_are_closed(unfinished: &[u8]) {
    let gate = small_gate().await;
    let mut connections = Vec::new();
    for _ in 0..30 {
        let mut connection = Connection::open(gate.auth).await;
        connection.send(unfinished).await;
        connections.push(connection);
        // In the order in which they were opened.
        let held = (connections.len() * unfinished.len()).min(MAX_BUFFERED / 2);
        gate.wait_until("the gate holds it", |status| status["connections"]["buffered"].as_u64() >= Some(held as u64))
            .await;
    }
    let evicted = 30 - MAX_BUFFERED / unfinished.len();
    gate.wait_until("the oldest are closed", |status| status["connections"]["evicted"] == evicted).await;
    for connection in &mut connections[..evicted] {
        connection.wait_closed().await;
    }
    assert!(connections[evicted..].iter().all(|connection| !connection.is_closed()));
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    drop(connections);
    gate.wait_until("the memory is free", |status| status["connections"]["buffered"] == 0).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oldest_incomplete_heads_are_closed() {
    let head = get(&format!("/mqtt/auth?client_id={}", "x".repeat(60_000)));
    assert_oldest_are_closed(&head[..head.len() - 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oldest_incomplete_bodies_are_closed() {
    let request = post("/mqtt/auth", "application/json", &vec![b' '; 60_000]);
    assert_oldest_are_closed(&request[..request.len() - 1]).await;
}

/// A head that follows an answered request in the same segments counts too.
#[tokio::test(flavor = "multi_thread")]
async fn incomplete_heads_behind_a_complete_request_are_closed() {
    let gate = small_gate().await;
    let head = get(&format!("/mqtt/auth?client_id={}", "x".repeat(60_000)));
    let request = [&Device::valid().request(), &head[..head.len() - 2]].concat();
    let mut connections = Vec::new();
    for _ in 0..30 {
        let mut connection = Connection::open(gate.auth).await;
        assert_eq!(connection.request(&request).await.status, 200);
        connections.push(connection);
    }
    gate.wait_until("some are closed", |status| status["connections"]["evicted"].as_u64() >= Some(10)).await;
    gate.stop().await;
}

/// Without the secret no body is kept, so a stranger cannot fill the memory by bodies.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_the_secret_are_not_kept() {
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.access.broker_secret = Some(mqtt_gate_engine::SecretSource::inline("0123456789abcdef".to_owned()));
    })
    .await;
    let oversized = post("/mqtt/auth", "application/json", &vec![b' '; 200_000]);
    assert_eq!(gate.request(&oversized).await.status, 401, "not 413: the secret is checked first");
    gate.stop().await;
}

/// Resident memory of a process, in bytes: now (`VmRSS`), or at most so far (`VmHWM`).
fn memory(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_has_a_ceiling_in_a_flood_and_returns_to_the_system() {
    const MIB: u64 = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let config = write_config(directory.path(), "limits.max_buffered = \"8MiB\"\n");
    let gate = GateProcess::start_config(&config).await;
    let before = memory(gate.child.id().unwrap(), "VmRSS");
    // 60 MB of unfinished requests.
    let head = get(&format!("/mqtt/auth?client_id={}", "x".repeat(60_000)));
    let body = post("/mqtt/auth", "application/json", &vec![b' '; 60_000]);
    let mut connections = Vec::new();
    for request in [&head, &body].iter().cycle().take(1_000) {
        let mut connection = Connection::open(gate.auth).await;
        connection.try_send(&request[..request.len() - 1]).await;
        connections.push(connection);
    }
    assert_eq!(Connection::open(gate.auth).await.request(&Device::valid().request()).await.status, 200);
    let peak = memory(gate.child.id().unwrap(), "VmHWM");
    assert!(peak < before + 64 * MIB, "{} MiB, then {} MiB", before / MIB, peak / MIB);
    drop(connections);
    let is_small = async || (memory(gate.child.id().unwrap(), "VmRSS") < before + 16 * MIB).then_some(());
    poll_until("the memory returns to the system", is_small).await;
    gate.terminate();
    assert_eq!(gate.wait_exit().await.0, Some(0));
}
