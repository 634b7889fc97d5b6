//! The policy's own code for a denial reaches the operator, and never the client.

use serde_json::json;

use crate::support::device::Device;
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate, MISBEHAVING};

async fn metrics(gate: &Gate) -> String {
    Connection::open(gate.admin).await.request(&get("/metrics")).await.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detail_is_shown_to_the_operator_only() {
    let gate = Gate::start(MISBEHAVING).await;
    for route in ["/emqx/auth", "/mqtt/auth"] {
        let response = gate.request(&Device::triggering("quota").request_to(route)).await;
        assert_eq!(response.json(), json!({ "result": "deny" }));
    }
    let status = gate.status().await;
    assert_eq!(status["reasons"], json!({ "quota-exceeded": 2 }));
    assert_eq!(status["details"], json!({ "monthly-quota": 2 }));
    let metrics = metrics(&gate).await;
    assert!(metrics.contains("mqtt_gate_denials_by_detail_total{detail=\"monthly-quota\"} 2\n"), "{metrics}");
    gate.stop().await;
}

/// Everything that is not a short code, or that repeats a password.
#[tokio::test(flavor = "multi_thread")]
async fn any_other_detail_is_dropped() {
    let gate = Gate::start(MISBEHAVING).await;
    let password = "abcdef-0123456789".to_owned();
    for device in [
        Device::triggering("odd detail"),
        Device::triggering("method"),
        Device { password, ..Device::triggering("password as detail") },
    ] {
        assert_eq!(gate.authenticate(&device).await, 401);
    }
    let status = gate.status().await;
    assert_eq!(status["reasons"], json!({ "bad-authentication-method": 1, "unspecified": 2 }));
    assert_eq!(status["details"], json!({}));
    let metrics = metrics(&gate).await;
    assert!(!metrics.contains("detail=") && !metrics.contains("abcdef"), "{metrics}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_policy_says_what_is_wrong_with_a_login() {
    let gate = Gate::start(AUTH_CORE).await;
    let valid = Device::valid();
    for device in [
        Device::unsigned("stranger"),
        Device { client_id: "GID_other@@@AA_BB_CC_DD_EE_FF@@@x".into(), ..valid.clone() },
        Device { username: String::new(), ..valid.clone() },
        Device { username: "x".into(), ..valid.clone() },
        Device { password: String::new(), ..valid },
        Device::forged(),
    ] {
        assert_eq!(gate.authenticate(&device).await, 401);
    }
    let expected = json!({
        "malformed-client-id": 1, "unknown-group": 1, "no-username": 1, "malformed-username": 1, "no-password": 1,
        "bad-signature": 1,
    });
    assert_eq!(gate.status().await["details"], expected);
    gate.stop().await;
}
