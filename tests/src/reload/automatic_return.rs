//! A policy that passes preflight and then fails every call is replaced by the one before.

use std::fs;

use tempfile::TempDir;

use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING};
use crate::support::poll_until;

const FAULTS: usize = 20;

/// A component that differs from [`MISBEHAVING`] by a custom section, and behaves like it.
fn other_misbehaving() -> Vec<u8> {
    let mut component = fs::read(MISBEHAVING).unwrap();
    component.extend([0, 2, 1, b'x']);
    component
}

/// Fails calls in a row, each of which is denied.
async fn fail_calls(gate: &Gate, count: usize) {
    for _ in 0..count {
        assert_ne!(gate.authenticate(&Device::triggering("trap")).await, 200);
    }
}

async fn readiness(gate: &Gate) -> u16 {
    Connection::open(gate.admin).await.request(&get("/readyz")).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_fails_every_call_makes_room_for_the_one_before() {
    let state = TempDir::new().unwrap();
    let directory = state.path().to_owned();
    let gate = Gate::start_with(AUTH_CORE, |config| config.state.directory = Some(directory.clone())).await;
    let bad = fs::read(MISBEHAVING).unwrap();
    gate.rename_policy(&bad);
    let swapped = gate.wait_for_generation(2).await;
    fail_calls(&gate, FAULTS).await;
    let status = gate.wait_for_generation(3).await;
    assert_eq!(status["policy"]["name"], "auth-core");
    assert_eq!(status["rejected"]["on_hold"], "component");
    assert_eq!(status["rejected"]["last"]["sha256"], swapped["policy"]["sha256"]);
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    assert_eq!(readiness(&gate).await, 200);
    let metrics = Connection::open(gate.admin).await.request(&get("/metrics")).await;
    let metrics = metrics.text();
    assert!(metrics.contains("\nmqtt_gate_policy_returns_total{member=\"policy\"} 1\n"), "{metrics}");
    poll_until("the policy that works is kept", async || {
        let files = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        let kept: Vec<_> = files.filter(|file| file.file_name().unwrap() != "lock").collect();
        (kept.len() == 1 && fs::read(&kept[0]).ok() == fs::read(AUTH_CORE).ok()).then_some(())
    })
    .await;

    // The same component again: it stays rejected.
    gate.rename_policy(&bad);
    gate.wait_for_rejection(2).await;
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);

    // After another one, it may try again.
    gate.rename_policy(&fs::read(AUTH_CORE).unwrap());
    let status = gate.wait_for_generation(4).await;
    assert!(status["rejected"]["on_hold"].is_null());
    gate.rename_policy(&bad);
    gate.wait_for_generation(5).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_allowed_a_client_stays() {
    let gate = Gate::start(AUTH_CORE).await;
    gate.rename_policy(&fs::read(MISBEHAVING).unwrap());
    gate.wait_for_generation(2).await;
    fail_calls(&gate, FAULTS - 1).await;
    assert_eq!(gate.authenticate(&Device::triggering("")).await, 200);
    fail_calls(&gate, 2 * FAULTS).await;
    assert_eq!(readiness(&gate).await, 200);
    // A swap that follows is handled after any return.
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    assert_eq!(gate.wait_for_generation(3).await["policy"]["name"], "lockdown");
    gate.stop().await;
}

/// There is nothing to return to, and the gate says that it cannot serve, until a call succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_policy_that_fails_every_call_makes_the_gate_unready() {
    let gate = Gate::start(MISBEHAVING).await;
    fail_calls(&gate, FAULTS).await;
    assert_eq!(readiness(&gate).await, 503);
    assert_eq!(gate.authenticate(&Device::triggering("")).await, 200);
    assert_eq!(readiness(&gate).await, 200);
    assert_eq!(gate.status().await["policy"]["generation"], 1);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_return_from_a_return() {
    let gate = Gate::start(MISBEHAVING).await;
    gate.rename_policy(&other_misbehaving());
    gate.wait_for_generation(2).await;
    fail_calls(&gate, FAULTS).await;
    gate.wait_for_generation(3).await;
    fail_calls(&gate, FAULTS).await;
    assert_eq!(readiness(&gate).await, 503);
    // A swap that follows is handled after any return.
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    assert_eq!(gate.wait_for_generation(4).await["policy"]["name"], "lockdown");
    assert_eq!(readiness(&gate).await, 200);
    gate.stop().await;
}

/// A revoked key must not become valid again.
#[tokio::test(flavor = "multi_thread")]
async fn settings_are_never_returned_to() {
    const OTHER_KEY: &str = "another key of these tests";
    let directory = TempDir::new().unwrap();
    let key = directory.path().join("key");
    fs::write(&key, KEY).unwrap();
    let file = key.clone();
    let gate =
        Gate::start_with(AUTH_CORE, |config| config.policy.first.settings.set_from_file("signature-keys", file)).await;
    gate.rename_policy(&fs::read(MISBEHAVING).unwrap());
    gate.wait_for_generation(2).await;
    fs::write(&key, OTHER_KEY).unwrap();
    gate.wait_for_generation(3).await;
    fail_calls(&gate, FAULTS).await;
    assert_eq!(gate.wait_for_generation(4).await["policy"]["name"], "auth-core");
    assert_eq!(gate.authenticate(&Device::valid()).await, 401);
    assert_eq!(gate.authenticate(&Device::signed_with(OTHER_KEY)).await, 200);

    // Keys still change while the component is on hold.
    fs::write(&key, KEY).unwrap();
    gate.wait_for_generation(5).await;
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    assert_eq!(gate.authenticate(&Device::signed_with(OTHER_KEY)).await, 401);
    gate.stop().await;
}
