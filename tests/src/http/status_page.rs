//! The status page: `GET /mqtt/auth` of a person shows the active policy.

use crate::support::http::get;
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN};

#[tokio::test(flavor = "multi_thread")]
async fn shows_the_active_policy() {
    let gate = Gate::start(AUTH_CORE).await;
    let digest = gate.status().await["policy"]["sha256"].as_str().unwrap().to_owned();
    let text = gate.request(&get("/mqtt/auth")).await.text().to_owned();
    assert!(text.contains(&digest) && text.contains("signature key: set"), "{text}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_that_the_policy_has_no_signature_key() {
    let gate = Gate::start(LOCKDOWN).await;
    let text = gate.request(&get("/mqtt/auth")).await.text().to_owned();
    assert!(text.contains("lockdown") && text.contains("signature key: not set"), "{text}");
    gate.stop().await;
}

/// NanoMQ without configured headers sends such requests, and would take `200` for an allow.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_brokers_are_not_status_page_requests() {
    let gate = Gate::start(AUTH_CORE).await;
    for request in [
        "GET /mqtt/auth HTTP/1.1\r\nhost: gate\r\n\r\n",
        "HEAD /mqtt/auth HTTP/1.1\r\nhost: gate\r\n\r\n",
        "GET /mqtt/auth HTTP/1.1\r\nhost: gate\r\nuser-agent: x\r\ncontent-length: 2\r\n\r\n{}",
        "GET /mqtt/auth HTTP/1.1\r\nhost: gate\r\naccept: */*\r\ncontent-type: application/json\r\n\r\n",
    ] {
        let status = gate.request_head(request.as_bytes()).await.status;
        assert!((400..500).contains(&status), "{status} to {request}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_are_a_404() {
    let gate = Gate::start(AUTH_CORE).await;
    assert_eq!(gate.request(&get("/elsewhere")).await.status, 404);
    gate.stop().await;
}
