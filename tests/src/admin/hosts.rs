//! The `host` header at the admin address.

use crate::support::http::{Connection, Response};
use crate::support::in_process::{AUTH_CORE, Gate};

async fn get(gate: &Gate, path: &str, host: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    Connection::open(gate.admin).await.request(request.as_bytes()).await
}

/// A page of the attacker's domain, which resolves to this address, cannot read anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_name_is_not_answered_unless_it_is_configured() {
    let names = vec!["gate.example.com".to_owned()];
    let gate = Gate::start_with(AUTH_CORE, |config| config.access.admin_hosts = names).await;
    let port = gate.admin.port();
    for path in ["/status", "/metrics", "/", "/nowhere"] {
        let response = get(&gate, path, &format!("rebind.attacker.example:{port}")).await;
        assert_eq!(response.status, 421, "{path}");
        assert!(response.text().contains("access.admin_hosts"), "{}", response.text());
    }
    for host in ["127.0.0.1", "[::1]", "localhost", "mqtt-gate", "gate.mqtt.svc", "gate.example.com"] {
        assert_eq!(get(&gate, "/status", &format!("{host}:{port}")).await.status, 200, "{host}");
    }
    for probe in ["/livez", "/readyz"] {
        assert_eq!(get(&gate, probe, "rebind.attacker.example").await.status, 200);
    }
    gate.stop().await;
}
