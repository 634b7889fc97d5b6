//! The dashboard as it is served. `external::dashboard` opens it in a browser.

use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn content_security_policy_allows_the_own_script_and_no_other_origin() {
    let gate = Gate::start(AUTH_CORE).await;
    let response = Connection::open(gate.admin).await.request(&get("/")).await;
    assert_eq!((response.status, response.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = response.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; connect-src 'self'; script-src 'sha256-"), "{policy}");
    // The XML namespace of SVG is the only URL.
    assert_eq!(response.text().matches("://").count(), 1);
    gate.stop().await;
}
