//! Logins that are refused without a call of the policy: repeated ones, and those of clients that are locked out.

use std::fs;
use std::num::NonZero;

use mqtt_gate::config::{LockoutConfig, LockoutKey};
use serde_json::json;

use crate::support::device::Device;
use crate::support::http::{Connection, get, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN};

/// A counter of the gate without labels.
async fn counter(gate: &Gate, name: &str) -> u64 {
    let metrics = Connection::open(gate.admin).await.request(&get("/metrics")).await;
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_is_repeated_at_once_costs_no_call_and_is_counted_all_the_same() {
    let gate = Gate::start(AUTH_CORE).await;
    let mut connection = Connection::open(gate.auth).await;
    let requests = 200;
    connection.send(&Device::forged().request().repeat(requests)).await;
    for _ in 0..requests {
        assert_eq!(connection.response().await.status, 401);
    }
    let status = gate.status().await;
    assert_eq!(status["reasons"]["bad-user-name-or-password"], requests);
    assert!(counter(&gate, "mqtt_gate_repeated_refusals_total").await > 0);
    // A device with another password is another login.
    assert_eq!(connection.request(&Device::valid().request()).await.status, 200);
    gate.stop().await;
}

/// A device that a policy refused is asked about again as soon as another one is active, also within the second.
#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_outlives_its_policy() {
    let gate = Gate::start(LOCKDOWN).await;
    let mut connection = Connection::open(gate.auth).await;
    for (generation, component, status) in [(2, AUTH_CORE, 200), (3, LOCKDOWN, 401), (4, AUTH_CORE, 200)] {
        for _ in 0..20 {
            let expected = if status == 200 { 401 } else { 200 };
            assert_eq!(connection.request(&Device::valid().request()).await.status, expected);
        }
        gate.rename_policy(&fs::read(component).unwrap());
        gate.wait_for_generation(generation).await;
        assert_eq!(connection.request(&Device::valid().request()).await.status, status, "{component}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_guesses_is_locked_out_and_a_device_elsewhere_is_not() {
    let gate = Gate::start_with(AUTH_CORE, |config| {
        let failures = NonZero::new(5).unwrap();
        let long = std::time::Duration::from_secs(3600);
        config.lockout =
            Some(LockoutConfig { failures, within: long, locked_for: long, by: LockoutKey::ClientAndPeer });
    })
    .await;
    let device = Device::valid();
    let login = |password: &str, peer: &str| {
        post_json(
            "/emqx/auth",
            &json!({ "clientid": device.client_id, "username": device.username, "password": password, "peerhost": peer }),
        )
    };
    let mut connection = Connection::open(gate.auth).await;
    for guess in 0..5 {
        assert_eq!(connection.request(&login(&format!("guess {guess}"), "192.0.2.66")).await.result(), "deny");
    }
    assert_eq!(connection.request(&login(&device.password, "192.0.2.66")).await.result(), "deny", "locked out");
    assert_eq!(connection.request(&login(&device.password, "192.0.2.1")).await.result(), "allow", "the device itself");
    let status = gate.status().await;
    assert_eq!(status["reasons"]["locked-out"], 1, "{status}");
    assert_eq!(counter(&gate, "mqtt_gate_lockouts_total").await, 1);
    gate.stop().await;
}
