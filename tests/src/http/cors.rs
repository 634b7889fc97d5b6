//! CORS: browsers can call `/mqtt/auth` from any origin.

use crate::support::device::Device;
use crate::support::http::{cross_origin, get, post, without_body};
use crate::support::in_process::{AUTH_CORE, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn cross_origin_requests_get_cors_headers() {
    let gate = Gate::start(AUTH_CORE).await;
    let requests = [
        (without_body("OPTIONS", "/mqtt/auth"), 204),
        (get("/mqtt/auth"), 200),
        (Device::valid().request(), 200),
        (Device::unsigned("x").request(), 401),
        (post("/mqtt/auth", "application/json", b"{"), 400),
        (without_body("DELETE", "/mqtt/auth"), 405),
    ];
    for (request, status) in requests {
        let response = gate.request(&cross_origin(&request)).await;
        assert_eq!(response.status, status);
        assert_eq!(response.header("access-control-allow-origin"), Some("*"), "{status}");
        assert_eq!(response.header("access-control-allow-methods"), Some("GET, POST, OPTIONS"));
        assert_eq!(response.header("access-control-allow-headers"), Some("client-id, content-type, device-id"));
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn same_origin_requests_get_no_cors_headers() {
    let gate = Gate::start(AUTH_CORE).await;
    let response = gate.request(&Device::valid().request()).await;
    assert_eq!(response.header("access-control-allow-origin"), None);
    gate.stop().await;
}
