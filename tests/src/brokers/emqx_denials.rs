//! Requests that cannot be evaluated are final denials for EMQX. It takes any status but 200 for "ignore", and a client
//! could cause one, for example by a user name that is too long for a URL.

use brokers::FaultReply;
use mqtt_gate::config::BrokerConfig;
use serde_json::json;

use crate::support::device::{Device, USERNAME};
use crate::support::http::{Connection, Response, get, post_json, without_body};
use crate::support::in_process::{AUTH_CORE, EMQX, Gate, MISBEHAVING};

fn assert_denied(response: &Response) {
    assert_eq!((response.status, response.result().as_str()), (200, "deny"));
    assert_eq!(response.header("content-type"), Some("application/json"));
}

async fn assert_requests_are_denied(requests: &[Vec<u8>]) {
    assert_denied_by(Gate::start(AUTH_CORE).await, requests).await;
}

/// As [`assert_requests_are_denied`], by a gate that only EMQX asks.
async fn assert_requests_of_emqx_alone_are_denied(requests: &[Vec<u8>]) {
    assert_denied_by(Gate::start_with(AUTH_CORE, |config| config.broker = vec![EMQX]).await, requests).await;
}

async fn assert_denied_by(gate: Gate, requests: &[Vec<u8>]) {
    for request in requests {
        assert_denied(&gate.request(request).await);
    }
    gate.stop().await;
}

/// A text that is longer than a URL or a body may be.
fn long() -> String {
    "x".repeat(70_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn overlong_targets_are_denied() {
    let longest_username = "%78".repeat(3 * 65_535);
    assert_requests_are_denied(&[
        get(&format!("/emqx/auth?clientid=c&username={}", long())),
        get(&format!("/emqx/auth?clientid=c&username={longest_username}")),
        get(&format!("/emqx/acl?clientid=c&username={}&topic=t&action=publish", long())),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_bodies_are_denied() {
    assert_requests_are_denied(&[
        post_json("/emqx/auth", &json!({ "clientid": long(), "username": USERNAME })),
        post_json("/emqx/auth", &json!({ "clientid": "c", "username": "\u{1}".repeat(3 * 65_535) })),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_are_denied() {
    let body = Device::valid().body();
    assert_requests_of_emqx_alone_are_denied(&[
        get("/emqx/elsewhere?clientid=c"),
        post_json("/EMQX/auth", &body),
        post_json("/gate/%65mqx/acl", &body),
        post_json("/emqx/auth/", &body),
        post_json("/mqtt/auth", &body),
        post_json("/", &body),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_empty_bodies_are_denied() {
    assert_requests_are_denied(&[without_body("PUT", "/emqx/auth"), post_json("/emqx/acl", &json!({}))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_http_is_denied() {
    let framing = |framing: &str| format!("POST /emqx/auth HTTP/1.1\r\nhost: gate\r\n{framing}\r\n\r\n").into_bytes();
    assert_requests_of_emqx_alone_are_denied(&[
        b"POST http://gate/emqx/auth HTTP/1.1\r\nhost: gate\r\nbad header\r\n\r\n".to_vec(),
        b"GET /emqx/auth?username=x\" HTTP/1.1\r\nhost: gate\r\n\r\n".to_vec(),
        b"GET emqx/auth HTTP/1.1\r\nhost: gate\r\n\r\n".to_vec(),
        b"garbage\r\n\r\n".to_vec(),
        framing("transfer-encoding: gzip"),
        framing("content-length: +5"),
        framing("content-length: 1\r\ncontent-length: 2"),
    ])
    .await;
}

/// The first segment of a broker's connection can be short.
#[tokio::test(flavor = "multi_thread")]
async fn overlong_target_is_denied_after_a_first_segment_of_one_byte() {
    let gate = Gate::start(AUTH_CORE).await;
    let mut connection = Connection::open(gate.auth).await;
    let request = get(&format!("/emqx/auth?clientid=c&username={}", long()));
    connection.send(&request[..1]).await;
    gate.wait_until("the first byte is read", |status| status["connections"]["buffered"] == 1).await;
    connection.send(&request[1..]).await;
    assert_denied(&connection.response().await);
    gate.stop().await;
}

/// Only the response to the invalid request is replaced, whatever the HTTP version of the earlier ones.
async fn assert_earlier_responses_are_unchanged(version: &str) {
    let gate = Gate::start(AUTH_CORE).await;
    let mut connection = Connection::open(gate.auth).await;
    let denied = Device::unsigned("x").request();
    let keep_alive = format!("HTTP/{version}\r\nconnection: keep-alive\r\n");
    let older = String::from_utf8(denied.clone()).unwrap().replacen("HTTP/1.1\r\n", &keep_alive, 1);
    let invalid = get(&format!("/emqx/auth?clientid={}", long()));
    connection.send(&[denied, older.into_bytes(), invalid].concat()).await;
    for status in [401, 401, 200] {
        assert_eq!(connection.response().await.status, status);
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_before_invalid_http_are_unchanged() {
    assert_earlier_responses_are_unchanged("1.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_responses_before_invalid_http_are_unchanged() {
    assert_earlier_responses_are_unchanged("1.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_a_503_if_the_operator_says_so() {
    let gate = Gate::start_with(MISBEHAVING, |config| {
        config.broker = vec![BrokerConfig { faults: FaultReply::Unavailable, ..EMQX }];
    })
    .await;
    for (behaviour, status, result) in [("trap", 503, "deny"), ("ignore", 200, "deny"), ("allow", 200, "allow")] {
        let response = gate.request(&Device::triggering(behaviour).request_to("/emqx/auth")).await;
        assert_eq!((response.status, response.result().as_str()), (status, result), "{behaviour}");
    }
    let response = gate.request(&post_json("/emqx/auth", &json!({}))).await;
    assert_eq!((response.status, response.result().as_str()), (200, "deny"), "a request that a client can cause");
    gate.stop().await;
}
