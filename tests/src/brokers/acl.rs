//! Topics: with the login (EMQX) and action by action, a device may use the same topics.

use serde_json::json;

use crate::support::device::Device;
use crate::support::http::post_json;
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, OPERATOR};

async fn gate_with_topics() -> Gate {
    Gate::start_with(AUTH_CORE, |config| {
        let settings = &mut config.policy.first.settings;
        settings.set("publish-topics", "devices/{mac}/up/#, log/{group}".into());
        settings.set("subscribe-topics", "devices/{mac}/down/#, all/+".into());
        settings.set("session-seconds", "3600".into());
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn login_grants_topics_and_expiry_to_emqx() {
    let gate = gate_with_topics().await;
    let grant = gate.request(&Device::valid().request_to("/emqx/auth")).await.json();
    assert_eq!(grant["acl"][1]["topics"], json!(["devices/AA_BB_CC_DD_EE_FF/up/#", "log/GID_test"]));
    assert_eq!(grant["acl"][2]["topics"], json!(["devices/AA_BB_CC_DD_EE_FF/down/#", "all/+"]));
    assert!(grant["expire_at"].as_u64() > Some(1_760_000_000));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_are_allowed_on_the_granted_topics_only() {
    let gate = gate_with_topics().await;
    for (action, topic, is_allowed) in [
        ("publish", "devices/AA_BB_CC_DD_EE_FF/up/battery", true),
        ("publish", "log/GID_test", true),
        ("publish", "devices/11_22_33_44_55_66/up/battery", false),
        ("publish", "devices/AA_BB_CC_DD_EE_FF/down/x", false),
        ("publish", "$SYS/x", false),
        ("subscribe", "devices/AA_BB_CC_DD_EE_FF/down/#", true),
        ("subscribe", "$share/g/devices/AA_BB_CC_DD_EE_FF/down/x", true),
        ("subscribe", "all/x", true),
        ("subscribe", "all/#", false),
        ("subscribe", "devices/#", false),
        ("subscribe", "#", false),
        ("subscribe", "$SYS/#", false),
    ] {
        let (result, status) = if is_allowed { ("allow", 200) } else { ("deny", 401) };
        let body = Device::valid().acl_body(action, topic);
        let emqx = gate.request(&post_json("/emqx/acl", &body)).await;
        assert_eq!((emqx.status, emqx.json()), (200, json!({ "result": result })), "{action} {topic}");
        assert_eq!(gate.request(&post_json("/mqtt/acl", &body)).await.status, status, "{action} {topic}");
    }
    let status = gate.status().await;
    assert_eq!((&status["authorize"]["calls"], &status["authenticate"]["calls"]), (&json!(24), &json!(0)));
    gate.stop().await;
}

/// An authorization request has no proof of the client's identity, so a client that could not have logged in is denied.
#[tokio::test(flavor = "multi_thread")]
async fn actions_of_clients_that_cannot_log_in_are_denied() {
    let gate = gate_with_topics().await;
    let valid = Device::valid();
    for device in [
        Device { client_id: "GID_other@@@AA_BB_CC_DD_EE_FF@@@x".into(), ..valid.clone() },
        Device { client_id: "AA_BB_CC_DD_EE_FF".into(), ..valid.clone() },
        Device { username: "x".into(), ..valid },
    ] {
        let body = device.acl_body("publish", "devices/AA_BB_CC_DD_EE_FF/up/x");
        assert_eq!(gate.request(&post_json("/emqx/acl", &body)).await.result(), "deny");
    }
    gate.stop().await;
}

/// Asserts that an action is left to the rules of EMQX, and that a route without rules is denied with a warning.
async fn assert_left_to_the_broker(component: &str, device: &Device, kind: &str) {
    let gate = Gate::start(component).await;
    let body = device.acl_body("publish", "t");
    assert_eq!(gate.request(&post_json("/emqx/acl", &body)).await.text(), r#"{"result":"ignore"}"#);
    assert_eq!(gate.status().await["policy"]["has_authorizer"], component == AUTH_CORE);
    let by_status = gate.request(&post_json("/mqtt/acl", &body)).await;
    assert_eq!((by_status.status, by_status.result().as_str()), (401, "ignore"));
    let warning = gate.status().await["config_warnings"][0].clone();
    assert_eq!((&warning["kind"], &warning["route"]), (&json!(kind), &json!("/mqtt/acl")));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_without_an_authorizer_leaves_actions_to_the_broker() {
    assert_left_to_the_broker(LOCKDOWN, &Device::unsigned(OPERATOR), "no-authorizer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_without_topics_leaves_actions_to_the_broker() {
    assert_left_to_the_broker(AUTH_CORE, &Device::valid(), "no-fallback-rules").await;
}
