//! Behind a real RabbitMQ: who is let in, and what they may send and receive.

use rumqttc::ConnectReturnCode::BadUserNamePassword;

use crate::support::broker::rabbitmq;
use crate::support::device::Device;
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::mqtt::{Client, Sent};

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_lets_in_devices_and_keeps_them_to_their_topics() {
    let server = Device::genuine_with_id("GID_gateway@@@mqtt_gateway@@@1764000000000");
    let gate = Gate::start_with(AUTH_CORE, |config| {
        let settings = &mut config.policy.settings;
        settings.set("publish-topics", "devices/{mac}/up/#".into());
        settings.set("subscribe-topics", "devices/{mac}/down/#".into());
        settings.set("superusers", server.client_id.clone());
    })
    .await;
    let broker = rabbitmq(gate.logins).await;
    let device = Device::genuine();

    for stranger in [
        Device { password: "A".repeat(43) + "=", ..device.clone() },
        Device { username: "eyJpcCI6IjEifQ==".into(), ..device.clone() },
        Device { client_id: "somebody".into(), ..device.clone() },
        Device::signed_with("another key than that of the gate"),
    ] {
        assert_eq!(Client::connect(broker.port, &stranger).await.err(), Some(BadUserNamePassword));
    }

    let mut server = Client::connect(broker.port, &server).await.expect("the server is let in");
    assert_eq!(server.subscribe("devices/+/up/#").await, Sent::Taken);
    let mut client = Client::connect(broker.port, &device).await.expect("the device is let in");
    assert_eq!(client.subscribe("devices/AA_BB_CC_DD_EE_FF/down/#").await, Sent::Taken);

    assert_eq!(client.publish("devices/AA_BB_CC_DD_EE_FF/up/battery", "80").await, Sent::Taken);
    assert_eq!(server.receive().await, ("devices/AA_BB_CC_DD_EE_FF/up/battery".into(), "80".into()));
    assert_eq!(server.publish("devices/AA_BB_CC_DD_EE_FF/down/light", "on").await, Sent::Taken);
    assert_eq!(client.receive().await, ("devices/AA_BB_CC_DD_EE_FF/down/light".into(), "on".into()));

    // RabbitMQ ends the connection of who may not.
    for topic in ["devices/11_22_33_44_55_66/up/battery", "devices/AA_BB_CC_DD_EE_FF/down/light", "$SYS/x"] {
        let mut client = Client::connect(broker.port, &device).await.expect("the device is let in");
        assert_eq!(client.publish(topic, "x").await, Sent::Closed, "{topic}");
    }
    for filter in ["devices/+/down/#", "devices/#", "#", "devices/AA_BB_CC_DD_EE_FF/up/battery"] {
        let mut client = Client::connect(broker.port, &device).await.expect("the device is let in");
        assert_eq!(client.subscribe(filter).await, Sent::Closed, "{filter}");
    }

    // Nothing that it asks is a mistake, and nothing went without a verdict.
    let status = gate.status().await;
    assert_eq!((&status["malformed"], &status["misconfigured"]), (&0.into(), &serde_json::json!([])));
    assert_eq!((&status["no_verdict"], &status["actions"]["no_verdict"]), (&0.into(), &0.into()));
    assert!(status["actions"]["verdicts"]["allow"].as_u64() > Some(20), "{status}");

    // A gate that is gone refuses everybody.
    gate.stop().await;
    assert_eq!(Client::connect(broker.port, &device).await.err(), Some(BadUserNamePassword));
}
