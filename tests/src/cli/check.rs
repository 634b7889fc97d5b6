//! `mqtt-gate check`: runs the preflight of a policy.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::inspect::sha256;
use crate::support::child::{mqtt_gate, run, write_config};
use crate::support::cli_fixture::json_line;
use crate::support::device::KEY;
use crate::support::in_process::{AUTH_CORE, LOCKDOWN, REVOKED};

#[tokio::test(flavor = "multi_thread")]
async fn good_policy_is_printed_with_its_digest() {
    let (code, printed, error) = run(mqtt_gate(["check", AUTH_CORE]).env("MQTT_SIGNATURE_KEY", KEY)).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(printed.contains("auth-core") && printed.contains(&sha256(AUTH_CORE)), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_setting_exits_64_and_is_named() {
    let (code, _, error) = run(&mut mqtt_gate(["check", LOCKDOWN])).await;
    assert!(code == Some(64) && error.contains("clients: missing") && error.lines().count() == 1, "{error}");
    let (code, printed, error) = run(&mut mqtt_gate(["check", AUTH_CORE])).await;
    assert_eq!((code, printed.as_str()), (Some(64), ""));
    assert!(error.contains("signature-keys: missing") && error.lines().count() == 1, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_exits_64() {
    let directory = TempDir::new().unwrap();
    let garbage = directory.path().join("garbage.wasm");
    fs::write(&garbage, "garbage").unwrap();
    let arguments = ["check", garbage.to_str().unwrap()];
    let (code, printed, error) = run(mqtt_gate(arguments).env("MQTT_SIGNATURE_KEY", KEY)).await;
    assert_eq!((code, printed.as_str()), (Some(64), ""));
    assert!(error.contains("not a component") && error.lines().count() == 1, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_settings_are_listed() {
    let directory = TempDir::new().unwrap();
    let config = write_config(directory.path(), "[policy.settings]\nclients = \"a\"\nothers = \"b\"");
    let (code, printed, _) = run(&mut mqtt_gate(["check", LOCKDOWN, "--config", config.to_str().unwrap()])).await;
    assert_eq!(code, Some(0));
    assert!(printed.contains("unused settings: others"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_a_good_policy() {
    let (code, printed, error) = run(mqtt_gate(["check", AUTH_CORE, "--json"]).env("MQTT_SIGNATURE_KEY", KEY)).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let report = json_line(&printed);
    assert_eq!((&report["good"], &report["problem"]), (&json!(true), &Value::Null));
    assert_eq!((&report["name"], &report["sha256"]), (&json!("auth-core"), &json!(sha256(AUTH_CORE))));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_a_bad_policy() {
    let (code, printed, error) = run(&mut mqtt_gate(["check", LOCKDOWN, "--json"])).await;
    let report = json_line(&printed);
    assert_eq!((code, &report["good"], &report["name"]), (Some(64), &json!(false), &Value::Null));
    assert!(report["problem"].as_str().unwrap().contains("clients: missing"), "{report}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_says_what_can_be_set() {
    for (component, settings, line) in [
        (
            AUTH_CORE,
            format!("signature-keys = {KEY:?}"),
            "  signature-keys (secret, required): Keys that sign passwords.",
        ),
        (LOCKDOWN, "clients = \"\"".to_owned(), "  clients (list, required): "),
        (REVOKED, "revoked = \"\"".to_owned(), "  revoked (list, required): "),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let config = write_config(directory.path(), &format!("[policy.settings]\n{settings}\n"));
        let (code, printed, error) =
            run(&mut mqtt_gate(["check", component, "--config", config.to_str().unwrap()])).await;
        assert_eq!((code, error.as_str()), (Some(0), ""));
        assert!(printed.lines().any(|it| it.starts_with(line)), "{line}: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_setting_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("[policy.settings]\nsignature-keys = {KEY:?}\npublish-topic = \"up/{{mac}}\"\n");
    let config = write_config(directory.path(), &text);
    let (code, _, error) = run(&mut mqtt_gate(["check", AUTH_CORE, "--config", config.to_str().unwrap()])).await;
    assert_eq!(code, Some(64));
    let expected = "the policy has no setting `publish-topic`, but one named `publish-topics`; correct the name";
    assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
}
