//! RabbitMQ: which clients it accepts, and on which topics.

use rumqttc::ConnectReturnCode::BadUserNamePassword;
use serde_json::json;

use crate::support::broker::{Broker, rabbitmq};
use crate::support::device::Device;
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::mqtt::{Ack, Client};

async fn connect(broker: &Broker, device: &Device) -> Client {
    Client::connect(broker.port, device).await.expect("the client is allowed")
}

/// One test, because a broker takes long to start.
#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_enforces_the_policy() {
    let server = Device::valid_with_id("GID_gateway@@@mqtt_gateway@@@1764000000000");
    let gate = Gate::start_with(AUTH_CORE, |config| {
        let settings = &mut config.policy.first.settings;
        settings.set("publish-topics", "devices/{mac}/up/#".into());
        settings.set("subscribe-topics", "devices/{mac}/down/#".into());
        settings.set("superusers", server.client_id.clone());
    })
    .await;
    let broker = rabbitmq(gate.auth).await;
    let device = Device::valid();

    for rejected in [
        Device::forged(),
        Device { username: "eyJpcCI6IjEifQ==".into(), ..device.clone() },
        Device { client_id: "intruder".into(), ..device.clone() },
        Device::signed_with("another key than that of the gate"),
    ] {
        assert_eq!(Client::connect(broker.port, &rejected).await.err(), Some(BadUserNamePassword));
    }

    let mut server = connect(&broker, &server).await;
    assert_eq!(server.subscribe("devices/+/up/#").await, Ack::Accepted);
    let mut client = connect(&broker, &device).await;
    assert_eq!(client.subscribe("devices/AA_BB_CC_DD_EE_FF/down/#").await, Ack::Accepted);

    assert_eq!(client.publish("devices/AA_BB_CC_DD_EE_FF/up/battery", "80").await, Ack::Accepted);
    assert_eq!(server.receive().await, ("devices/AA_BB_CC_DD_EE_FF/up/battery".into(), "80".into()));
    assert_eq!(server.publish("devices/AA_BB_CC_DD_EE_FF/down/light", "on").await, Ack::Accepted);
    assert_eq!(client.receive().await, ("devices/AA_BB_CC_DD_EE_FF/down/light".into(), "on".into()));

    // RabbitMQ closes the connection of a client that acts without permission.
    for topic in ["devices/11_22_33_44_55_66/up/battery", "devices/AA_BB_CC_DD_EE_FF/down/light", "$SYS/x"] {
        let mut client = connect(&broker, &device).await;
        assert_eq!(client.publish(topic, "x").await, Ack::Disconnected, "{topic}");
    }
    for filter in ["devices/+/down/#", "devices/#", "#", "devices/AA_BB_CC_DD_EE_FF/up/battery"] {
        let mut client = connect(&broker, &device).await;
        assert_eq!(client.subscribe(filter).await, Ack::Disconnected, "{filter}");
    }

    // RabbitMQ sends no malformed request, and every request got a verdict.
    let status = gate.status().await;
    assert_eq!((&status["malformed_requests"], &status["config_warnings"]), (&json!(0), &json!([])));
    assert_eq!((&status["authenticate"]["errors"], &status["authorize"]["errors"]), (&json!(0), &json!(0)));
    assert!(status["authorize"]["verdicts"]["allow"].as_u64() > Some(20), "{status}");

    // Without a gate every client is rejected.
    gate.stop().await;
    assert_eq!(Client::connect(broker.port, &device).await.err(), Some(BadUserNamePassword));
}
