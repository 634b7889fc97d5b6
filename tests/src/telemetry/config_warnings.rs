//! Mistakes in the configuration of a broker: shown in `/status` with a hint, and logged once a minute.

use serde_json::{Value, json};

use crate::support::child::GateProcess;
use crate::support::device::Device;
use crate::support::http::{Connection, get, post, post_json, with_header};
use crate::support::in_process::{AUTH_CORE, Gate};

/// Sends a request three times, and asserts that it is counted as one warning with a hint. Returns `/status`.
async fn assert_warned(request: &[u8], route: &str, kind: &str, field: Value) -> Value {
    let gate = Gate::start(AUTH_CORE).await;
    let mut connection = Connection::open(gate.auth).await;
    for _ in 0..3 {
        connection.request(request).await;
    }
    let status = gate.status().await;
    let expected = (&json!(route), &json!(kind), &field);
    let mut warnings = status["config_warnings"].as_array().unwrap().iter();
    let found = warnings.find(|warning| (&warning["route"], &warning["kind"], &warning["field"]) == expected);
    let warning = found.unwrap_or_else(|| panic!("{route} {kind}: {status}"));
    assert_eq!(warning["count"], 3, "{warning}");
    assert!(warning["hint"].as_str().is_some_and(|hint| hint.len() > 20), "{warning}");
    assert!(warning["problem"].as_str().is_some() && warning["last"].as_str().is_some(), "{warning}");
    gate.stop().await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_an_unresolved_placeholder_and_evaluates_the_login() {
    let mut body = Device::valid().body();
    body["proto"] = json!("${proto_name}");
    let status = assert_warned(&post_json("/emqx/auth", &body), "/emqx/auth", "placeholder", json!("proto")).await;
    assert_eq!(status["authenticate"]["verdicts"]["allow"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_an_unresolved_placeholder_in_an_acl_request() {
    let body = json!({ "clientid": "c", "username": "u", "topic": "${topik}", "action": "publish" });
    assert_warned(&post_json("/emqx/acl", &body), "/emqx/acl", "placeholder", json!("topic")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_an_empty_body() {
    assert_warned(&post_json("/emqx/auth", &json!({})), "/emqx/auth", "empty", Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_a_missing_field() {
    let request = post_json("/emqx/auth", &json!({ "username": "u", "password": "p" }));
    assert_warned(&request, "/emqx/auth", "missing-field", json!("clientid")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_an_unknown_content_type() {
    assert_warned(&post("/emqx/auth", "text/plain", b"x"), "/emqx/auth", "content-type", Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_json_sent_as_a_form() {
    let request = post("/emqx/auth", "application/x-www-form-urlencoded", b"{}");
    assert_warned(&request, "/emqx/auth", "json-as-form", Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_emqx_on_a_status_route_and_evaluates_the_login() {
    // EMQX is recognized by its default headers.
    let request = with_header(&Device::valid().request(), "keep-alive", "timeout=30, max=1000");
    let status = assert_warned(&request, "/mqtt/auth", "emqx-on-status-route", Value::Null).await;
    assert_eq!(status["authenticate"]["verdicts"]["allow"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_warnings_are_logged_once_without_content() {
    let gate = GateProcess::start_default().await;
    let mut connection = Connection::open(gate.auth).await;
    for _ in 0..10 {
        connection.send(&post_json("/emqx/auth", &json!({ "s3cret": "${s3cret}" })).repeat(100)).await;
        connection.send(&get("/emqx/auth").repeat(100)).await;
        for _ in 0..200 {
            assert_eq!(connection.response().await.result(), "deny");
        }
    }
    let log = gate.stop().await;
    let warnings: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["level"] == "WARN")
        .collect();
    // The placeholder, three missing fields, and the empty request.
    assert_eq!(warnings.len(), 5, "{log}");
    for line in warnings {
        assert!(line["hint"].as_str().is_some() && line["route"] == "/emqx/auth", "{line}");
    }
}
