//! Startup: the gate does not start without a policy that passes its preflight.

use std::fs;

use mqtt_gate::config::Config;
use mqtt_gate::{Listeners, serve};

use crate::support::in_process::AUTH_CORE;
use crate::support::within_timeout;

/// Asserts that a gate with this policy file and this key does not start, for a reason that contains `expected`.
async fn assert_does_not_start(component: Option<&[u8]>, key: &str, expected: &str) {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("policy.wasm");
    if let Some(component) = component {
        fs::write(&file, component).unwrap();
    }
    let mut config = Config::default();
    config.policy.first.file = Some(file);
    config.policy.first.settings.set("signature-keys", key.into());
    config.listen = ([127, 0, 0, 1], 0).into();
    config.admin_listen = ([127, 0, 0, 1], 0).into();
    let listeners = Listeners::bind(&config).unwrap();
    let served = within_timeout("the gate to stop", serve(config, listeners, std::future::pending())).await;
    let line = mqtt_gate_engine::util::sanitize::error_chain(&served.expect_err("the gate does not start"));
    assert!(line.contains(expected), "no {expected:?} in {line}");
}

const VALID_KEY: &str = "0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn does_not_start_without_a_policy_file() {
    assert_does_not_start(None, VALID_KEY, "policy.wasm").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_start_with_garbage() {
    assert_does_not_start(Some(b"garbage"), VALID_KEY, "not a component").await;
}

async fn assert_rejects_key(key: &str, expected: &str) {
    assert_does_not_start(Some(&fs::read(AUTH_CORE).unwrap()), key, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_start_with_an_empty_key() {
    assert_rejects_key("", "signature-keys: missing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_start_with_a_published_key() {
    assert_rejects_key("test-signature-key-12345", "published").await;
    assert_rejects_key("null", "published").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_start_with_a_short_key() {
    assert_rejects_key("too short", "16 bytes").await;
}
