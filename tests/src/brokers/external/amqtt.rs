//! amqtt, which reads the status code: which clients it accepts, and on which topics.

use rumqttc::ConnectReturnCode::NotAuthorized;
use serde_json::json;

use crate::support::broker::amqtt;
use crate::support::device::Device;
use crate::support::in_process::{AUTH_CORE, Gate, MISBEHAVING};
use crate::support::mqtt::{Ack, Client};

/// Asserts which clients and topics amqtt accepts if it sends JSON or a form (`params`).
async fn assert_enforces_policy(params: &str) {
    let gate = Gate::start_with(AUTH_CORE, |config| {
        let settings = &mut config.policy.first.settings;
        settings.set("publish-topics", "devices/{mac}/up/#".into());
        settings.set("subscribe-topics", "devices/{mac}/#".into());
    })
    .await;
    let broker = amqtt(gate.auth, params).await;
    let device = Device::valid();
    for rejected in [
        Device::forged(),
        Device { client_id: "intruder".into(), ..device.clone() },
        Device::signed_with("another key than that of the gate"),
    ] {
        assert_eq!(Client::connect(broker.port, &rejected).await.err(), Some(NotAuthorized));
    }
    let mut client = Client::connect(broker.port, &device).await.expect("the device is allowed");
    assert_eq!(client.subscribe("devices/#").await, Ack::Rejected);
    assert_eq!(client.subscribe("devices/AA_BB_CC_DD_EE_FF/#").await, Ack::Accepted);
    // amqtt acknowledges messages that it drops, so only a received message shows what is allowed.
    assert_eq!(client.publish("devices/AA_BB_CC_DD_EE_FF/down/x", "not allowed").await, Ack::Accepted);
    assert_eq!(client.publish("devices/AA_BB_CC_DD_EE_FF/up/x", "allowed").await, Ack::Accepted);
    assert_eq!(client.receive().await, ("devices/AA_BB_CC_DD_EE_FF/up/x".into(), "allowed".into()));
    let status = gate.status().await;
    assert_eq!((&status["config_warnings"], &status["authenticate"]["errors"]), (&json!([]), &json!(0)));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amqtt_enforces_the_policy_with_json() {
    assert_enforces_policy("json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amqtt_enforces_the_policy_with_forms() {
    assert_enforces_policy("form").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amqtt_rejects_clients_on_policy_faults() {
    let gate = Gate::start(MISBEHAVING).await;
    let broker = amqtt(gate.auth, "json").await;
    for behaviour in ["trap", "error", "expired", "ignore"] {
        let device = Device { password: "x".into(), ..Device::triggering(behaviour) };
        assert_eq!(Client::connect(broker.port, &device).await.err(), Some(NotAuthorized), "{behaviour}");
    }
    let device = Device { password: "x".into(), ..Device::triggering("nothing") };
    assert!(Client::connect(broker.port, &device).await.is_ok());
    gate.stop().await;
}
