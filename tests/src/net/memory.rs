//! `limits.max_buffered`: unfinished requests of all connections take bounded memory.

use bytesize::ByteSize;

use crate::support::device::Device;
use crate::support::http::{Connection, get, post};
use crate::support::in_process::{AUTH_CORE, Gate};

const MAX_BUFFERED: u64 = 1 << 20;

async fn small_gate() -> Gate {
    Gate::start_with(AUTH_CORE, |config| config.limits.max_buffered = ByteSize(MAX_BUFFERED)).await
}

/// Begins `request` on many connections, and asserts that the oldest are closed and all others go on.
async fn assert_oldest_are_closed(unfinished: &[u8]) {
    let gate = small_gate().await;
    let mut connections = Vec::new();
    for number in 1..=30_u64 {
        let mut connection = Connection::open(gate.auth).await;
        connection.send(unfinished).await;
        connections.push(connection);
        let expected = (number * unfinished.len() as u64).min(MAX_BUFFERED - unfinished.len() as u64);
        gate.wait_until("the gate holds it", |status| status["connections"]["buffered"].as_u64() >= Some(expected))
            .await;
    }
    let status = gate.status().await;
    let (buffered, evicted) = (&status["connections"]["buffered"], &status["connections"]["evicted"]);
    assert!(buffered.as_u64() <= Some(MAX_BUFFERED), "{buffered}");
    let evicted = usize::try_from(evicted.as_u64().unwrap()).unwrap();
    assert!((1..30).contains(&evicted), "{evicted}");
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
