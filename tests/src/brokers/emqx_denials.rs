//! Requests that cannot be evaluated are final denials for EMQX. It takes any status but 200 for "ignore", and a client
//! could cause one, for example by a user name that is too long for a URL.

use serde_json::json;

use crate::support::device::{Device, USERNAME};
use crate::support::http::{Connection, Response, get, post_json, without_body};
use crate::support::in_process::{AUTH_CORE, Gate};

fn assert_denied(response: &Response) {
    assert_eq!((response.status, response.result().as_str()), (200, "deny"));
    assert_eq!(response.header("content-type"), Some("application/json"));
}

async fn assert_requests_are_denied(requests: &[Vec<u8>]) {
    let gate = Gate::start(AUTH_CORE).await;
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
async fn paths_that_resemble_emqx_routes_are_denied() {
    let body = Device::valid().body();
    assert_requests_are_denied(&[
        get("/emqx/elsewhere?clientid=c"),
        get("//emqx/auth?clientid=c"),
        post_json("/EMQX/auth", &body),
        post_json("/gate/%65mqx/acl", &body),
        post_json("/emqx/auth/", &body),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_empty_bodies_are_denied() {
    assert_requests_are_denied(&[without_body("PUT", "/emqx/auth"), post_json("/emqx/acl", &json!({}))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_http_is_denied() {
    assert_requests_are_denied(&[
        b"POST http://gate/emqx/auth HTTP/1.1\r\nhost: gate\r\nbad header\r\n\r\n".to_vec(),
        b"GET /emqx/auth?username=x\" HTTP/1.1\r\nhost: gate\r\n\r\n".to_vec(),
        b"GET emqx/auth HTTP/1.1\r\nhost: gate\r\n\r\n".to_vec(),
    ])
    .await;
}

/// The server has discarded the target of such a request; the connection is known to be one of EMQX.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_framing_on_a_connection_of_emqx_is_denied() {
    let gate = Gate::start(AUTH_CORE).await;
    for framing in ["transfer-encoding: gzip", "content-length: +5", "content-length: 1\r\ncontent-length: 2"] {
        let mut connection = Connection::open(gate.auth).await;
        assert_eq!(connection.request(&get("/emqx/auth?clientid=c")).await.result(), "deny");
        let request = format!("POST /emqx/auth HTTP/1.1\r\nhost: gate\r\n{framing}\r\n\r\n");
        let response = connection.request(request.as_bytes()).await;
        assert_eq!((response.status, response.result().as_str()), (200, "deny"), "{framing}");
    }
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
