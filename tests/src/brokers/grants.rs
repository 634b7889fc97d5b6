//! Grants: EMQX gets what the policy grants, and a grant that EMQX would interpret differently is a denial.

use mqtt_gate::config::BrokerConfig;
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::in_process::{AUTH_CORE, EMQX, Gate, MISBEHAVING};

/// Asserts the body that both JSON routes give for a behaviour of the misbehaving policy.
async fn assert_granted(behaviour: &str, expected: Value) {
    let gate = Gate::start(MISBEHAVING).await;
    for route in ["/emqx/auth", "/mqtt/auth"] {
        let response = gate.request(&Device::triggering(behaviour).request_to(route)).await;
        assert_eq!((response.status, response.json()), (200, expected.clone()), "{route}");
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grant_of_the_rules_of_the_broker_is_a_plain_allow() {
    assert_granted("none", json!({ "result": "allow" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grant_of_everything_is_a_superuser() {
    assert_granted("everything", json!({ "result": "allow", "is_superuser": true })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_client_attributes() {
    assert_granted("attributes", json!({ "result": "allow", "client_attrs": { "tier": "\"gold\"" } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_is_the_end_of_the_session() {
    assert_granted("2100", json!({ "result": "allow", "expire_at": 4_102_444_800_u64 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_an_acl_that_denies_the_rest() {
    let rest = json!({ "permission": "deny", "action": "all", "topics": ["#", "$SYS/#", "$delayed/#", "$file/#"] });
    let allowed = json!({ "permission": "allow", "action": "publish", "topics": ["a/b"] });
    assert_granted("only", json!({ "result": "allow", "acl": [allowed, rest] })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_an_acl_in_their_order_that_denies_the_rest() {
    let rest = json!({ "permission": "deny", "action": "all", "topics": ["#", "$SYS/#", "$delayed/#", "$file/#"] });
    let acl = json!([
        { "permission": "deny", "action": "all", "topics": ["a/secret"] },
        { "permission": "allow", "action": "publish", "topics": ["a/b"], "retain": false },
        { "permission": "allow", "action": "subscribe", "topics": ["a/#"], "qos": [0, 1] },
        rest,
    ]);
    assert_granted("rules", json!({ "result": "allow", "acl": acl })).await;
}

/// EMQX before 6.0 ignores the member: the client would get in under another client id than the policy meant.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_is_overridden_only_on_an_emqx_that_is_known_to_apply_it() {
    for (version, expected) in [
        (Some("6.0"), json!({ "result": "allow", "clientid_override": "other" })),
        (Some("5.10"), json!({ "result": "deny" })),
        (None, json!({ "result": "deny" })),
    ] {
        let version = version.map(|version| version.parse().unwrap());
        let gate = Gate::start_with(MISBEHAVING, |config| config.broker = vec![BrokerConfig { version, ..EMQX }]).await;
        let response = gate.request(&Device::triggering("clientid-override").request_to("/emqx/auth")).await;
        assert_eq!((response.status, response.json()), (200, expected));
        gate.stop().await;
    }
}

/// Asserts that a grant is a denial for EMQX and a 503 by status, and is counted.
async fn assert_unsupported(behaviour: &str) {
    let gate = Gate::start(MISBEHAVING).await;
    let response = gate.request(&Device::triggering(behaviour).request_to("/emqx/auth")).await;
    assert_eq!((response.status, response.json()), (200, json!({ "result": "deny" })));
    assert_eq!(gate.authenticate(&Device::triggering(behaviour)).await, 503);
    let status = gate.status().await;
    assert_eq!((&status["unsupported_grants"], &status["authenticate"]["errors"]), (&json!(2), &json!(2)));
    assert_eq!(status["authenticate"]["verdicts"]["allow"], 0);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_attribute_name_is_unsupported() {
    assert_unsupported("attribute-name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_attribute_is_unsupported() {
    assert_unsupported("attribute-twice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_expiry_is_unsupported() {
    assert_unsupported("expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_in_milliseconds_is_unsupported() {
    assert_unsupported("in milliseconds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eq_filter_is_unsupported() {
    assert_unsupported("eq").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn placeholder_in_a_filter_is_unsupported() {
    assert_unsupported("placeholder").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_filter_is_unsupported() {
    assert_unsupported("no filter").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_about_no_quality_of_service_is_unsupported() {
    assert_unsupported("no qos").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extension_for_the_broker_that_the_gate_does_not_know_is_unsupported() {
    let gate = Gate::start(MISBEHAVING).await;
    let device = Device::triggering("unknown extension");
    assert_eq!(gate.request(&device.request_to("/emqx/auth")).await.json(), json!({ "result": "deny" }));
    assert_eq!(gate.authenticate(&device).await, 200, "the broker of this route has another prefix");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_of_the_default_policy_reach_emqx() {
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.policy.first.settings.set("client-attributes", "tns={group}, device={mac}".into());
    })
    .await;
    let response = gate.request(&Device::valid().request_to("/emqx/auth")).await.json();
    let expected = json!({ "tns": "GID_test", "device": "AA_BB_CC_DD_EE_FF" });
    assert_eq!((&response["result"], &response["client_attrs"]), (&json!("allow"), &expected));
    gate.stop().await;
}
