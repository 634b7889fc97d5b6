//! Mistakes in the configuration of a broker: shown in `/status` with a hint, and logged once a minute.

use serde_json::{Value, json};

use crate::support::child::GateProcess;
use crate::support::device::Device;
use crate::support::http::{Connection, get, post, post_json, with_header};
use crate::support::in_process::{AUTH_CORE, EMQX, Gate};

/// How often [`assert_warned`] sends a request.
const REQUESTS: u64 = 6;

/// Requests on one connection before a placeholder that a client could have sent is evidence of a wrong template.
const BEFORE_EVIDENCE: u64 = 3;

/// Sends a request [`REQUESTS`] times, and asserts that each is counted as one warning with a hint. Returns `/status`.
async fn assert_warned(request: &[u8], route: &str, kind: &str, field: Value) -> Value {
    assert_warned_times(REQUESTS, request, route, kind, field).await
}

async fn assert_warned_times(count: u64, request: &[u8], route: &str, kind: &str, field: Value) -> Value {
    let gate = Gate::start(AUTH_CORE).await;
    let mut connection = Connection::open(gate.auth).await;
    for _ in 0..REQUESTS {
        connection.request(request).await;
    }
    let status = gate.status().await;
    let expected = (&json!(route), &json!(kind), &field);
    let mut warnings = status["config_warnings"].as_array().unwrap().iter();
    let found = warnings.find(|warning| (&warning["route"], &warning["kind"], &warning["field"]) == expected);
    let warning = found.unwrap_or_else(|| panic!("{route} {kind}: {status}"));
    assert_eq!((&warning["count"], &warning["is_current"]), (&json!(count), &json!(true)), "{warning}");
    assert!(warning["hint"].as_str().is_some_and(|hint| hint.len() > 20), "{warning}");
    assert!(warning["problem"].as_str().is_some() && warning["last"].as_str().is_some(), "{warning}");
    gate.stop().await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_an_unresolved_placeholder_and_evaluates_the_login() {
    let mut body = Device::valid().body();
    body["proto"] = json!("${proto_name}");
    let (request, count) = (post_json("/emqx/auth", &body), REQUESTS - BEFORE_EVIDENCE);
    let status = assert_warned_times(count, &request, "/emqx/auth", "placeholder", json!("proto")).await;
    assert_eq!(status["authenticate"]["verdicts"]["allow"], REQUESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_at_once_of_a_placeholder_that_no_client_can_have_sent() {
    let mut body = Device::valid().body();
    body["peerhost"] = json!("${peerhots}");
    assert_warned(&post_json("/emqx/auth", &body), "/emqx/auth", "placeholder", json!("peerhost")).await;
    body["peerhost"] = json!("%a");
    assert_warned(&post_json("/emqx/auth", &body), "/emqx/auth", "placeholder", json!("peerhost")).await;
}

/// A stranger chooses user name, password, client id and topic.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_cause_a_warning_by_the_text_of_a_placeholder() {
    let gate = Gate::start(AUTH_CORE).await;
    let mut connection = Connection::open(gate.auth).await;
    let stranger = Device { username: "${foo}".into(), ..Device::unsigned("${clientid}") };
    let login = |device: &Device| device.request_to("/emqx/auth");
    assert_eq!(connection.request(&login(&Device::valid())).await.result(), "allow");
    let action = |topic: &str| post_json("/emqx/acl", &Device::valid().acl_body("publish", topic));
    connection.request(&action("t")).await;
    for _ in 0..20 {
        assert_eq!(connection.request(&login(&stranger)).await.result(), "deny");
        assert_eq!(connection.request(&action("${foo}")).await.result(), "deny");
    }
    let status = gate.status().await;
    assert_eq!((&status["config_warnings"], &status["malformed_requests"]), (&json!([]), &json!(20)));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_that_a_broker_asks_is_shown() {
    let body = Device::valid().body();
    for kinds in [vec![], vec![EMQX]] {
        let gate = Gate::start_with(AUTH_CORE, |config| config.broker = kinds).await;
        for path in ["/emqx/login", "/emqx/auth/", "/EMQX/auth"] {
            gate.request(&post_json(path, &body)).await;
        }
        let status = gate.status().await;
        let warnings = status["config_warnings"].as_array().unwrap();
        let shown: Vec<_> = warnings.iter().map(|warning| (&warning["route"], &warning["field"])).collect();
        let expected = ["/EMQX/auth", "/emqx/auth/", "/emqx/login"].map(Value::from);
        let none = json!("(none)");
        assert_eq!(shown, expected.each_ref().map(|path| (&none, path)), "{status}");
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_an_unresolved_placeholder_in_an_acl_request() {
    let body = json!({ "clientid": "c", "username": "u", "topic": "${topik}", "action": "publish" });
    let (request, count) = (post_json("/emqx/acl", &body), REQUESTS - BEFORE_EVIDENCE);
    assert_warned_times(count, &request, "/emqx/acl", "placeholder", json!("topic")).await;
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
    assert_eq!(status["authenticate"]["verdicts"]["allow"], REQUESTS);
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
