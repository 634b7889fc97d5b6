//! Real brokers with a composed policy as their auth service. They take the `500` of a trap for a denial
//! (docs/PROXIES.md).

use rumqttc::ConnectReturnCode::{BadUserNamePassword, NotAuthorized};

use crate::support::broker::{Broker, amqtt, rabbitmq};
use crate::support::composition::Composition;
use crate::support::device::Device;
use crate::support::in_process::MISBEHAVING;
use crate::support::mqtt::Client;
use crate::support::wasi_http::WasiHttp;

async fn composed_policy() -> WasiHttp {
    let composition = Composition::with_config_store(MISBEHAVING).await;
    WasiHttp::start(composition.path(), &[]).await
}

/// Asserts that a broker rejects clients when the policy gives no allow, and accepts one that the policy allows.
async fn assert_fails_closed(broker: &Broker) {
    for behaviour in ["trap", "error", "expired", "ignore"] {
        let device = Device { password: "x".into(), ..Device::triggering(behaviour) };
        let rejected = Client::connect(broker.port, &device).await.err();
        assert!(matches!(rejected, Some(NotAuthorized | BadUserNamePassword)), "{behaviour}");
    }
    let device = Device { password: "x".into(), ..Device::triggering("nothing") };
    assert!(Client::connect(broker.port, &device).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn amqtt_rejects_clients_on_policy_faults() {
    let host = composed_policy().await;
    assert_fails_closed(&amqtt(host.address, "json").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_rejects_clients_on_policy_faults() {
    let host = composed_policy().await;
    assert_fails_closed(&rabbitmq(host.address).await).await;
}
