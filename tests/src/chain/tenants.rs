//! Tenants: each has its own policies, secret and numbers below `/t/NAME`.

use std::path::Path;

use mqtt_gate::config::{Config, Tenants};
use serde_json::json;

use crate::support::device::{Device, KEY};
use crate::support::http::{self, Connection, post_json, with_header};
use crate::support::in_process::{AUTH_CORE, Gate};

const OTHER_KEY: &str = "the key of another tenant, 32 by";
const SECRET: &str = "a-secret-of-the-brokers-of-one-tenant";

fn tenants(text: &str) -> Tenants {
    Config::parse(Path::new("gate.toml"), text).unwrap().tenant
}

async fn gate() -> Gate {
    let tenants = tenants(&format!(
        "[tenant.acme.policy.settings]\nsignature-keys = {KEY:?}\n\
         [tenant.bolt.policy.settings]\nsignature-keys = {OTHER_KEY:?}\n\
         [tenant.bolt.access]\nbroker_secret = {SECRET:?}"
    ));
    Gate::start_with(AUTH_CORE, |config| config.tenant = tenants).await
}

fn login(tenant: &str, device: &Device) -> Vec<u8> {
    let Device { client_id, username, password } = device;
    post_json(
        &format!("/t/{tenant}/emqx/auth"),
        &json!({ "client_id": client_id, "username": username, "password": password }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_has_its_own_keys_and_secret() {
    let gate = gate().await;
    let (acme, bolt) = (Device::valid(), Device::signed_with(OTHER_KEY));
    let secret = |request: Vec<u8>| with_header(&request, "x-mqtt-gate-secret", SECRET);
    for (request, result) in [
        (login("acme", &acme), "allow"),
        (login("acme", &bolt), "deny"),
        (secret(login("bolt", &bolt)), "allow"),
        (secret(login("bolt", &acme)), "deny"),
        (login("bolt", &bolt), "deny"),
        (secret(login("ACME", &acme)), "deny"),
        (login("unknown", &acme), "deny"),
        (login("", &acme), "deny"),
    ] {
        let response = gate.request(&request).await;
        assert_eq!(
            (response.status, response.result().as_str()),
            (200, result),
            "{}",
            String::from_utf8_lossy(&request)
        );
    }
    let unknown = gate.request(&login("unknown", &acme)).await;
    assert!(unknown.text().contains("no such tenant"), "{}", unknown.text());
    // The dialect by status refuses by status.
    let by_status = post_json("/t/unknown/mqtt/auth", &json!({ "client_id": acme.client_id }));
    assert_eq!(gate.request(&by_status).await.status, 404);
    let page = with_header(&http::get("/t/acme/mqtt/auth"), "user-agent", "curl");
    assert_eq!(gate.request(&page).await.status, 404, "the status page is not below a tenant");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_has_its_own_numbers() {
    let gate = gate().await;
    for _ in 0..3 {
        gate.request(&login("acme", &Device::valid())).await;
    }
    gate.request(&login("acme", &Device::forged())).await;
    let status = gate.status().await;
    let summary = &status["tenants"]["list"][0];
    assert_eq!((&status["tenants"]["count"], &summary["name"]), (&2.into(), &"acme".into()), "{status}");
    assert_eq!(summary["authenticate"], json!({ "allow": 3, "deny": 1, "ignore": 0 }));
    let admin = async |target: &str| Connection::open(gate.admin).await.request(&http::get(target)).await;
    let tenant = admin("/status?tenant=bolt").await.json();
    assert_eq!((&tenant["tenant"]["name"], &tenant["chain"][0]["name"]), (&"bolt".into(), &"policy".into()));
    assert_eq!(admin("/status?tenant=unknown").await.status, 404);
    let metrics = admin("/metrics").await;
    let expected = "mqtt_gate_tenant_decisions_total{tenant=\"acme\",operation=\"authenticate\",verdict=\"allow\"} 3";
    assert!(metrics.text().contains(expected), "{}", metrics.text());
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_uses_up_its_instances_leaves_the_others_theirs() {
    let tenants = tenants(&format!(
        "workers = 1\n[tenant.acme]\nlimits = {{ max_instances = 2, processors = 0.5 }}\n\
         policy.settings = {{ signature-keys = {KEY:?} }}\n\
         [tenant.bolt.policy.settings]\nsignature-keys = {KEY:?}"
    ));
    let gate = Gate::start_with(AUTH_CORE, |config| config.tenant = tenants).await;
    let device = Device::valid();
    for tenant in ["acme", "bolt"] {
        for _ in 0..64 {
            assert_eq!(gate.request(&login(tenant, &device)).await.result(), "allow", "{tenant}");
        }
    }
    let list = gate.status().await["tenants"]["list"].clone();
    let acme = list.as_array().unwrap().iter().find(|tenant| tenant["name"] == "acme").unwrap();
    assert!(acme["instances"].as_u64().unwrap() <= 2, "{acme}");
    gate.stop().await;
}
