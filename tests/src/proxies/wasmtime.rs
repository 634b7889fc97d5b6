//! Composed policies under wasmtime, as `wasmtime serve` runs them.

use super::wasi_http_checks::{self as checks, Host, Runtime};
use crate::support::composition::Composition;
use crate::support::credential_cases::{self, GROUPS, cases_by_key};
use crate::support::device::{Device, KEY};
use crate::support::golden::GOLDEN;
use crate::support::http::Connection;
use crate::support::in_process::{AUTH_CORE, LOCKDOWN, MISBEHAVING};
use crate::support::wasi_http::WasiHttp;

#[tokio::test(flavor = "multi_thread")]
async fn default_policy_responds_like_the_native_gate() {
    checks::default_policy_responds_like_the_native_gate(Runtime::Wasmtime, AUTH_CORE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_without_an_authorizer_responds_like_the_native_gate() {
    checks::policy_without_an_authorizer_responds_like_the_native_gate(Runtime::Wasmtime, LOCKDOWN).await;
}

/// Whatever the contract that it was built against.
#[tokio::test(flavor = "multi_thread")]
async fn golden_policies_respond_like_those_of_the_native_gate() {
    for golden in GOLDEN {
        checks::default_policy_responds_like_the_native_gate(Runtime::Wasmtime, golden.auth_core).await;
        checks::policy_without_an_authorizer_responds_like_the_native_gate(Runtime::Wasmtime, golden.lockdown).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_and_errors_respond_like_the_native_gate() {
    checks::grants_and_errors_respond_like_the_native_gate(Runtime::Wasmtime).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_keys_deny_every_request() {
    for key in [None, Some(""), Some("null"), Some("short")] {
        checks::rejected_key_denies_every_request(Runtime::Wasmtime, key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_check_denies_every_request() {
    for check in ["fails", "tells"] {
        checks::failing_check_denies_every_request(Runtime::Wasmtime, check).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_bodies_are_read_and_limited() {
    checks::chunked_bodies_are_read_and_limited(Runtime::Wasmtime).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_costs_one_request() {
    let composition = Composition::with_settings_from_env(MISBEHAVING).await;
    let host = WasiHttp::start(composition.path(), &[]).await;
    checks::trap_costs_one_request(Host::Wasmtime(host), 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn default_policy_gives_every_case_its_verdict() {
    let composition = Composition::with_config_store(AUTH_CORE).await;
    for groups in GROUPS {
        for (key, cases) in &cases_by_key() {
            let host = WasiHttp::start(composition.path(), &credential_cases::settings(key, groups)).await;
            let mut connection = Connection::open(host.address).await;
            for case in cases {
                case.assert_responses(&mut connection, groups, 64 << 10).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_can_come_from_the_environment() {
    let composition = Composition::with_settings_from_env(AUTH_CORE).await;
    for (groups, status) in [("GID_x,GID_test", 200), ("GID_x,GID_y", 401)] {
        let host = WasiHttp::start(composition.path(), &[("signature-keys", KEY), ("groups", groups)]).await;
        let response = Connection::open(host.address).await.request(&Device::valid().request()).await;
        assert_eq!(response.status, status, "{groups}");
    }
}
