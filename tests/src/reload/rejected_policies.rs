//! What is no good policy never serves, and the operator is told why.

use std::fs;

use mqtt_gate::config::Config;
use mqtt_gate::{Listeners, serve};
use serde_json::Value;

use crate::support::device::Device;
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING};

/// Each bad candidate, with what is said of it.
fn bad_candidates() -> Vec<(Vec<u8>, &'static str)> {
    let wat = |text: &str| wat::parse_str(text).unwrap();
    vec![
        (b"garbage".to_vec(), "not a component"),
        (Vec::new(), "not a component"),
        (fs::read(LOCKDOWN).unwrap()[..20_000].to_vec(), "not a component"),
        (wat("(module)"), "core WebAssembly module"),
        (wat("(component)"), "does not export mqtt-gate:auth/authenticator@0.1.0"),
        (
            wat(r#"(component (instance $i) (export "mqtt-gate:auth/authenticator@0.1.0" (instance $i)))"#),
            "does not fit the contract",
        ),
        (
            wat(r#"(component
                (import "wasi:clocks/wall-clock@0.2.0" (instance))
                (import "wasi:cli/environment@0.2.0" (instance))
                (import "wasi:filesystem/preopens@0.2.0" (instance)))"#),
            "imports wasi:cli/environment@0.2.0, wasi:filesystem/preopens@0.2.0",
        ),
        (wat(r#"(component (import "wasi:config/store@0.2.0-rc.1" (func)))"#), "does not export"),
    ]
}

fn reason(status: &Value) -> &str {
    status["rejected"]["last"]["reason"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_candidate_is_named_and_changes_nothing() {
    let gate = Gate::start(AUTH_CORE).await;
    let before = gate.status().await["policy"].clone();
    for (count, (candidate, complaint)) in (1..).zip(bad_candidates()) {
        gate.rename_policy(&candidate);
        let status = gate.until_rejected(count).await;
        assert!(reason(&status).contains(complaint), "{complaint}: {}", reason(&status));
        assert!(!reason(&status).contains('\n'));
        assert_eq!(status["policy"], before);
        assert_eq!(gate.connect(&Device::genuine()).await, 200);
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_refuses_its_settings_or_fails_in_check_never_serves() {
    for (how, complaint) in [
        ("fails", "refuses its settings: check: told to fail"),
        ("trap", "fails in its check(): the policy trapped"),
        ("recurse", "fails in its check(): the policy trapped"),
        ("hog", "fails in its check()"),
        ("error-huge", "fails in its check()"),
        ("loop", "longer than the deadline"),
        ("tells", "told: (not shown)"),
    ] {
        let gate = Gate::start_with(AUTH_CORE, |config| config.policy.settings.set("check", how.into())).await;
        gate.rename_policy(&fs::read(MISBEHAVING).unwrap());
        let status = gate.until_rejected(1).await;
        assert!(reason(&status).contains(complaint), "{how}: {}", reason(&status));
        assert_eq!(gate.connect(&Device::genuine()).await, 200);
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_fails_only_in_judging_an_action_never_serves() {
    for (how, complaint) in [("trap", "the policy trapped"), ("loop", "longer than the deadline")] {
        let gate = Gate::start_with(AUTH_CORE, |config| config.policy.settings.set("authorize", how.into())).await;
        gate.rename_policy(&fs::read(MISBEHAVING).unwrap());
        let status = gate.until_rejected(1).await;
        assert!(reason(&status).contains("first action") && reason(&status).contains(complaint), "{}", reason(&status));
        assert_eq!(gate.connect(&Device::genuine()).await, 200);
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lockdown_without_a_list_is_refused() {
    let directory = tempfile::TempDir::new().unwrap();
    fs::copy(AUTH_CORE, directory.path().join("policy.wasm")).unwrap();
    let gate = Gate::start_in(directory, |config| {
        let mut settings = mqtt_gate::settings::SettingSources::default();
        settings.set("signature-keys", crate::support::device::KEY.into());
        config.policy.settings = settings;
    })
    .await;
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    let status = gate.until_rejected(1).await;
    assert!(reason(&status).contains("clients: missing"), "{}", reason(&status));
    gate.stop().await;
}

/// So that it is not taken into memory, which may be less than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_no_policy_could_be_is_not_read() {
    let gate = Gate::start(AUTH_CORE).await;
    let endless = gate.directory().join("endless");
    // It takes no room on the disk.
    fs::File::create(&endless).unwrap().set_len((64 << 20) + 1).unwrap();
    fs::rename(&endless, gate.policy_file()).unwrap();
    let status = gate.until_rejected(1).await;
    assert!(status["rejected"]["last"]["reason"].as_str().unwrap().contains("longer than 64 MiB"), "{status}");
    assert_eq!(gate.connect(&Device::genuine()).await, 200);
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    gate.until_generation(2).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_does_not_start_without_a_policy_that_works() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("policy.wasm");
    for (component, key, complaint) in [
        (None, "0123456789abcdef", "cannot read"),
        (Some(b"garbage".to_vec()), "0123456789abcdef", "not a component"),
        (Some(fs::read(AUTH_CORE).unwrap()), "", "signature-keys: missing"),
        (Some(fs::read(AUTH_CORE).unwrap()), "test-signature-key-12345", "published"),
        (Some(fs::read(AUTH_CORE).unwrap()), "null", "published"),
        (Some(fs::read(AUTH_CORE).unwrap()), "too short", "shorter than 16 bytes"),
    ] {
        let _ = fs::remove_file(&file);
        if let Some(component) = component {
            fs::write(&file, component).unwrap();
        }
        let mut config = Config::default();
        config.policy.file = Some(file.clone());
        config.policy.settings.set("signature-keys", key.into());
        config.listen = ([127, 0, 0, 1], 0).into();
        config.admin_listen = ([127, 0, 0, 1], 0).into();
        let listeners = Listeners::bind(&config).unwrap();
        let error = serve(config, listeners, std::future::pending()).await.expect_err("it should not start");
        let line = mqtt_gate::one_line::chain(&error);
        assert!(line.contains(complaint), "{complaint}: {line}");
    }
}
