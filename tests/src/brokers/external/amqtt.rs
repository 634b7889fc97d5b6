//! Behind a real amqtt, which reads the status: who is let in, and what they may send and receive.

use rumqttc::ConnectReturnCode::NotAuthorized;

use crate::support::broker::amqtt;
use crate::support::device::Device;
use crate::support::in_process::{AUTH_CORE, Gate, MISBEHAVING};
use crate::support::mqtt::{Client, Sent};

#[tokio::test(flavor = "multi_thread")]
async fn amqtt_lets_in_devices_and_keeps_them_to_their_topics() {
    for params in ["json", "form"] {
        let gate = Gate::start_with(AUTH_CORE, |config| {
            let settings = &mut config.policy.settings;
            settings.set("publish-topics", "devices/{mac}/up/#".into());
            settings.set("subscribe-topics", "devices/{mac}/#".into());
        })
        .await;
        let broker = amqtt(gate.logins, params).await;
        let device = Device::genuine();
        for stranger in [
            Device { password: "A".repeat(43) + "=", ..device.clone() },
            Device { client_id: "somebody".into(), ..device.clone() },
            Device::signed_with("another key than that of the gate"),
        ] {
            assert_eq!(Client::connect(broker.port, &stranger).await.err(), Some(NotAuthorized));
        }
        let mut client = Client::connect(broker.port, &device).await.expect("the device is let in");
        assert_eq!(client.subscribe("devices/#").await, Sent::Refused);
        assert_eq!(client.subscribe("devices/AA_BB_CC_DD_EE_FF/#").await, Sent::Taken);
        // amqtt acknowledges what it drops: only what comes back tells.
        assert_eq!(client.publish("devices/AA_BB_CC_DD_EE_FF/down/x", "not allowed").await, Sent::Taken);
        assert_eq!(client.publish("devices/AA_BB_CC_DD_EE_FF/up/x", "allowed").await, Sent::Taken);
        assert_eq!(client.receive().await, ("devices/AA_BB_CC_DD_EE_FF/up/x".into(), "allowed".into()));
        let status = gate.status().await;
        assert_eq!((&status["misconfigured"], &status["no_verdict"]), (&serde_json::json!([]), &0.into()));
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amqtt_lets_nobody_in_on_a_fault() {
    let gate = Gate::start(MISBEHAVING).await;
    let broker = amqtt(gate.logins, "json").await;
    for misbehaviour in ["trap", "error", "expired", "ignore"] {
        let device = Device { password: "x".into(), ..Device::causing(misbehaviour) };
        assert_eq!(Client::connect(broker.port, &device).await.err(), Some(NotAuthorized), "{misbehaviour}");
    }
    let device = Device { password: "x".into(), ..Device::causing("nothing") };
    assert!(Client::connect(broker.port, &device).await.is_ok());
    gate.stop().await;
}
