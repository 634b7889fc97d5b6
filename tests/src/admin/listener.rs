//! The admin listener: its limit of connections, and brokers that call it.

use serde_json::json;

use crate::support::child::GateProcess;
use crate::support::device::Device;
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn idle_admin_connections_do_not_block_probes() {
    const MAX_CONNECTIONS: usize = 256;
    let gate = GateProcess::start_default().await;
    let mut connections = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 10 {
        let mut connection = Connection::open(gate.admin).await;
        assert_eq!(connection.request(&get("/livez")).await.status, 200);
        connections.push(connection);
    }
    let mut newest = connections.split_off(connections.len() - MAX_CONNECTIONS / 2);
    for connection in &mut connections[..10] {
        connection.wait_closed().await;
    }
    for connection in &mut newest {
        assert_eq!(connection.request(&get("/livez")).await.status, 200);
    }
    let log = gate.stop().await;
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_on_the_admin_address_are_denied_and_named() {
    let gate = Gate::start(AUTH_CORE).await;
    let ask = async |request: &[u8]| Connection::open(gate.admin).await.request(request).await;
    let response = ask(&Device::valid().request_to("/emqx/auth")).await;
    assert_eq!((response.status, response.result().as_str()), (200, "deny"), "final for EMQX");
    assert_eq!(ask(&Device::valid().request_to("/mqtt/auth")).await.status, 403);
    assert_eq!(ask(&get("/rabbitmq/user?username=u&password=s3cret")).await.text(), "deny");
    assert_eq!(ask(&get("/mqtt/auth")).await.status, 404, "a person");
    let status = gate.status().await;
    let warning = &status["config_warnings"][0];
    let expected = (&json!("(admin address)"), &json!("admin-address"), &json!(3));
    assert_eq!((&warning["route"], &warning["kind"], &warning["count"]), expected, "{status}");
    gate.stop().await;
}
