//! Rejected policies: they never become active, and `/status` gives the reason.

use std::fs;

use serde_json::Value;

use crate::support::device::{Device, KEY};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING};

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn reason(status: &Value) -> &str {
    status["rejected"]["last"]["reason"].as_str().unwrap()
}

/// Asserts that the gate rejects a component for a reason that contains all of `expected`, and keeps its policy.
async fn assert_rejected(component: &[u8], expected: &[&str]) {
    let gate = Gate::start(AUTH_CORE).await;
    let policy = gate.status().await["policy"].clone();
    gate.rename_policy(component);
    let status = gate.wait_for_rejection(1).await;
    for text in expected {
        assert!(reason(&status).contains(text), "no {text:?} in {}", reason(&status));
    }
    assert!(!reason(&status).contains('\n'));
    assert_eq!(status["policy"], policy);
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_garbage() {
    assert_rejected(b"garbage", &["not a component"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_empty_file() {
    assert_rejected(b"", &["not a component"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_truncated_component() {
    assert_rejected(&fs::read(LOCKDOWN).unwrap()[..20_000], &["not a component"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_core_module() {
    assert_rejected(&wat("(module)"), &["core WebAssembly module"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_component_without_the_authenticator() {
    assert_rejected(&wat("(component)"), &["mqtt-gate:auth/authenticator@0.2.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_another_version_of_the_contract_is_named() {
    let text = r#"(component (instance $i) (export "mqtt-gate:auth/authenticator@0.3.0" (instance $i)))"#;
    assert_rejected(&wat(text), &["does not export", "built against contract 0.3.0; this gate serves 0.1 and 0.2"])
        .await;
}

/// Otherwise the policy would seem to leave topics to the broker.
#[tokio::test(flavor = "multi_thread")]
async fn an_authorizer_of_another_version_than_the_authenticator_is_rejected() {
    let text = r#"(component (instance $i)
        (export "mqtt-gate:auth/authenticator@0.2.0" (instance $i))
        (export "mqtt-gate:auth/authorizer@0.1.0" (instance $i)))"#;
    assert_rejected(&wat(text), &["the authenticator of contract 0.2 and the authorizer of contract 0.1.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_other_types_are_a_mismatch_and_not_a_failed_check() {
    // Both functions exist, without the parameters and results of the contract.
    let text = r#"(component
        (core module $m (func (export "f")))
        (core instance $c (instantiate $m))
        (func $f (canon lift (core func $c "f")))
        (instance $i (export "check" (func $f)) (export "authenticate" (func $f)))
        (export "mqtt-gate:auth/authenticator@0.2.0" (instance $i)))"#;
    assert_rejected(&wat(text), &["the policy does not fit the contract of mqtt-gate:auth/authenticator@0.2.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_needs_more_memory_than_it_may_have_is_named_with_the_limit() {
    let text = r#"(component
        (core module $m (memory 1000))
        (core instance (instantiate $m))
        (instance $i) (export "mqtt-gate:auth/authenticator@0.2.0" (instance $i)))"#;
    assert_rejected(&wat(text), &["needs 65536000 bytes of memory", "limits.max_memory allows 16777216", "stack-size"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_authenticator_of_other_types() {
    let text = r#"(component (instance $i) (export "mqtt-gate:auth/authenticator@0.2.0" (instance $i)))"#;
    assert_rejected(&wat(text), &["contract"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_forbidden_imports_and_names_them() {
    let text = r#"(component
        (import "wasi:clocks/wall-clock@0.2.0" (instance))
        (import "wasi:cli/environment@0.2.0" (instance))
        (import "wasi:filesystem/preopens@0.2.0" (instance)))"#;
    assert_rejected(&wat(text), &["wasi:cli/environment@0.2.0", "wasi:filesystem/preopens@0.2.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_allowed_import_of_another_type() {
    assert_rejected(
        &wat(r#"(component (import "wasi:config/store@0.2.0-rc.1" (func)))"#),
        &["mqtt-gate:auth/authenticator@0.2.0"],
    )
    .await;
}

/// The limit protects the memory of the gate: a larger file is not read.
#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_file_larger_than_any_policy() {
    let gate = Gate::start(AUTH_CORE).await;
    let large = gate.directory().join("large");
    // Sparse, so that it needs no space on the disk.
    fs::File::create(&large).unwrap().set_len((64 << 20) + 1).unwrap();
    fs::rename(&large, gate.policy_file()).unwrap();
    let status = gate.wait_for_rejection(1).await;
    assert!(reason(&status).contains("64 MiB"), "{status}");
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    gate.wait_for_generation(2).await;
    gate.stop().await;
}

/// Asserts that the misbehaving policy is rejected when the setting `call` makes that call fail with `fault`.
async fn assert_preflight_rejects(call: &str, fault: &str, expected: &[&str]) {
    let gate = Gate::start_with(AUTH_CORE, |config| config.policy.first.settings.set(call, fault.into())).await;
    gate.rename_policy(&fs::read(MISBEHAVING).unwrap());
    let status = gate.wait_for_rejection(1).await;
    for text in expected {
        assert!(reason(&status).contains(text), "no {text:?} in {}", reason(&status));
    }
    assert!(!status.to_string().contains(KEY), "a key is shown");
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_rejects_a_policy_that_rejects_its_settings() {
    assert_preflight_rejects("check", "fails", &["settings", "check"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_redacts_keys_in_the_error_of_check() {
    assert_preflight_rejects("check", "tells", &["settings"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_rejects_a_trap_in_check() {
    assert_preflight_rejects("check", "trap", &["check()", "trap"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_rejects_a_stack_overflow_in_check() {
    assert_preflight_rejects("check", "recurse", &["check()", "trap"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_rejects_excessive_memory_in_check() {
    assert_preflight_rejects("check", "hog", &["check()", "needs more memory than limits.max_memory"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_rejects_oversized_output_of_check() {
    assert_preflight_rejects("check", "error-huge", &["check()"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_rejects_a_loop_in_check() {
    assert_preflight_rejects("check", "loop", &["check()"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_rejects_a_trap_in_authorize() {
    assert_preflight_rejects("authorize", "trap", &["trap"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_rejects_a_loop_in_authorize() {
    assert_preflight_rejects("authorize", "loop", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_rejects_lockdown_without_a_list() {
    let directory = tempfile::TempDir::new().unwrap();
    fs::copy(AUTH_CORE, directory.path().join("policy.wasm")).unwrap();
    let gate = Gate::start_in(directory, |config| {
        let mut settings = mqtt_gate_engine::SettingSources::default();
        settings.set("signature-keys", KEY.into());
        config.policy.first.settings = settings;
    })
    .await;
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    let status = gate.wait_for_rejection(1).await;
    assert!(reason(&status).contains("clients: missing"), "{}", reason(&status));
    gate.stop().await;
}
