//! Composed policies under jco, on Node.

use crate::proxies::wasi_http_checks::{self as checks, Host, Runtime};
use crate::support::composition::Composition;
use crate::support::in_process::{AUTH_CORE, LOCKDOWN, MISBEHAVING};
use crate::support::jco::Jco;

#[tokio::test(flavor = "multi_thread")]
async fn default_policy_responds_like_the_native_gate() {
    checks::default_policy_responds_like_the_native_gate(Runtime::Jco, AUTH_CORE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_without_an_authorizer_responds_like_the_native_gate() {
    checks::policy_without_an_authorizer_responds_like_the_native_gate(Runtime::Jco, LOCKDOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_and_errors_respond_like_the_native_gate() {
    checks::grants_and_errors_respond_like_the_native_gate(Runtime::Jco).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_keys_deny_every_request() {
    for key in [None, Some(""), Some("null"), Some("short")] {
        checks::rejected_key_denies_every_request(Runtime::Jco, key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_check_denies_every_request() {
    for check in ["fails", "tells"] {
        checks::failing_check_denies_every_request(Runtime::Jco, check).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_bodies_are_read_and_limited() {
    checks::chunked_bodies_are_read_and_limited(Runtime::Jco).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_costs_one_request_in_isolated_workers() {
    let composition = Composition::with_settings_from_env(MISBEHAVING).await;
    let isolated = ["--isolate-requests", "worker", "--isolate-worker-pool-size", "2"];
    let host = Jco::start_with(composition.path(), &[], &isolated).await;
    checks::trap_costs_one_request(Host::Jco(Box::new(host)), 502).await;
}
