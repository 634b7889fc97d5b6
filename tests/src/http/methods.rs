//! HTTP methods: logins are sent by GET or POST.

use crate::support::http::without_body;
use crate::support::in_process::{AUTH_CORE, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_a_405() {
    let gate = Gate::start(AUTH_CORE).await;
    for method in ["HEAD", "PUT", "DELETE", "PATCH"] {
        let response = gate.request_head(&without_body(method, "/mqtt/auth?clientid=c&password=wrong")).await;
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, POST, OPTIONS")), "{method}");
    }
    gate.stop().await;
}

/// EMQX and rmqtt take a 405 for "ignore", and continue with another authenticator.
#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_a_denial_for_emqx() {
    let gate = Gate::start(AUTH_CORE).await;
    let denial = gate.request(&without_body("PUT", "/emqx/auth?clientid=c")).await;
    assert_eq!((denial.status, denial.result().as_str()), (200, "deny"));
    let length = denial.body.len().to_string();
    for method in ["HEAD", "OPTIONS"] {
        let response = gate.request_head(&without_body(method, "/emqx/auth?clientid=c")).await;
        assert_eq!((response.status, response.header("content-length")), (200, Some(length.as_str())), "{method}");
    }
    gate.stop().await;
}
