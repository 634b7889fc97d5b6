//! Pipelined requests: every response is sent, in order, whatever follows it.

use crate::support::device::Device;
use crate::support::http::{Connection, get, post};
use crate::support::in_process::{AUTH_CORE, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_responses_keep_the_order_of_requests() {
    let gate = Gate::start(AUTH_CORE).await;
    let requests = [
        (Device::valid().request(), 200),
        (Device::unsigned("x").request(), 401),
        (get("/elsewhere"), 404),
        (post("/mqtt/auth", "application/json", b"{"), 400),
        (Device::valid().request_to("/emqx/auth"), 200),
    ];
    let mut connection = Connection::open(gate.auth).await;
    let burst: Vec<u8> =
        std::iter::repeat_n(&requests, 20).flatten().flat_map(|(request, _)| request.clone()).collect();
    connection.send(&burst).await;
    for round in 0..20 {
        for (_, status) in &requests {
            assert_eq!(connection.response().await.status, *status, "round {round}");
        }
    }
    gate.stop().await;
}

/// Sends two logins and then `rest`, all at once, and asserts the status codes that follow.
async fn assert_two_logins_then(rest: Vec<u8>, statuses: &[u16]) {
    let gate = Gate::start(AUTH_CORE).await;
    let login = Device::valid().request();
    let mut connection = Connection::open(gate.auth).await;
    connection.send(&[login.clone(), login, rest].concat()).await;
    for status in [200, 200].iter().chain(statuses) {
        assert_eq!(connection.response().await.status, *status);
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_precede_the_rejection_of_invalid_http() {
    assert_two_logins_then(b"garbage\r\n\r\n".to_vec(), &[400]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_do_not_wait_for_an_empty_line() {
    assert_two_logins_then(b"\r\n".to_vec(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_do_not_wait_for_an_incomplete_request() {
    let request = Device::valid().request();
    assert_two_logins_then(request[..request.len() / 2].to_vec(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_body_does_not_end_the_connection() {
    let oversized = post("/emqx/auth", "application/json", &vec![b' '; 200_000]);
    assert_two_logins_then([oversized, Device::valid().request()].concat(), &[200, 200]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_body_on_an_unknown_path_does_not_end_the_connection() {
    let unknown = post("/elsewhere", "application/json", &vec![b' '; 200_000]);
    assert_two_logins_then([unknown, Device::valid().request()].concat(), &[404, 200]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_body_of_options_does_not_end_the_connection() {
    let options = post("/mqtt/auth", "application/json", &vec![b' '; 200_000]);
    let options = [b"OPTIONS", &options[4..]].concat();
    assert_two_logins_then([options, Device::valid().request()].concat(), &[204, 200]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_closed_client_receives_responses() {
    let gate = Gate::start(AUTH_CORE).await;
    for _ in 0..50 {
        let mut connection = Connection::open(gate.auth).await;
        connection.send(&Device::valid().request().repeat(3)).await;
        connection.shutdown_write().await;
        for _ in 0..3 {
            assert_eq!(connection.response().await.status, 200);
        }
        assert!(connection.try_response().await.is_none());
    }
    gate.stop().await;
}

/// Sends the login of a valid device after a change of its text: it is answered, and the connection closes.
async fn assert_answered_and_closed(change: impl Fn(&str) -> String) {
    let gate = Gate::start(AUTH_CORE).await;
    let request = change(&String::from_utf8(Device::valid().request()).unwrap());
    let mut connection = Connection::open(gate.auth).await;
    connection.send(format!("{request}\n").as_bytes()).await;
    let mut response = connection.response().await;
    if response.status == 100 {
        response = connection.response().await;
    }
    assert_eq!(response.status, 200, "{request}");
    assert!(connection.try_response().await.is_none(), "the connection is closed");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_request_is_answered_and_closed() {
    assert_answered_and_closed(|request| request.replacen("HTTP/1.1", "HTTP/1.0", 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_close_is_honoured() {
    assert_answered_and_closed(|request| request.replacen("\r\n", "\r\nconnection: close\r\n", 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_continue_is_answered() {
    let headers = "\r\nexpect: 100-continue\r\nconnection: close\r\n";
    assert_answered_and_closed(|request| request.replacen("\r\n", headers, 1)).await;
}
