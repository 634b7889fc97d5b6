//! Mistakes in the configuration of the filter: Envoy does not start, and the log names the field and hides its value.

use serde_json::{Value, json};

use crate::support::device::KEY;
use crate::support::envoy::{Bootstrap, Envoy, HTTP, MQTT};

/// A value that must not be in the log.
const VALUE: &str = "unfit-value";

/// Asserts that Envoy rejects a value at this path of a filter's configuration, and that the log contains `expected`.
async fn assert_rejected(listener: &str, path: &str, value: Value, expected: &str) {
    let mut bootstrap = Bootstrap::for_tests();
    bootstrap.change(listener, |plugin| {
        let (parent, name) = path.rsplit_once('/').unwrap();
        plugin.pointer_mut(parent).unwrap()[name] = value;
    });
    let Err(log) = Envoy::try_start(bootstrap, listener).await else { panic!("Envoy started") };
    assert!(log.text().contains(expected), "no {expected:?} in {}", log.text());
    assert!(!log.text().contains(VALUE) && !log.text().contains(KEY), "a value is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_short_key() {
    assert_rejected(HTTP, "/settings/signature-keys", json!(VALUE), "settings.signature-keys: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_key_that_is_not_text() {
    assert_rejected(HTTP, "/settings/signature-keys", json!([VALUE]), "settings.signature-keys: not text").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_empty_key() {
    assert_rejected(MQTT, "/settings/signature-keys", json!(""), "settings.signature-keys: missing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_invalid_group() {
    assert_rejected(HTTP, "/settings/groups", json!(format!("{VALUE} {VALUE}")), "settings.groups: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_unknown_setting() {
    assert_rejected(HTTP, "/settings/group", json!(VALUE), "settings.group: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_invalid_session_length() {
    assert_rejected(MQTT, "/settings/session-seconds", json!(VALUE), "settings.session-seconds: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_unknown_mode() {
    assert_rejected(HTTP, "/mode", json!(VALUE), "mode: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_invalid_limit() {
    assert_rejected(MQTT, "/limits/connect", json!(VALUE), "limits.connect: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_empty_cluster() {
    assert_rejected(MQTT, "/cluster", json!(""), "cluster: missing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_unknown_field() {
    assert_rejected(MQTT, "/clusters", json!(VALUE), "clusters: ").await;
}
