//! `mqtt-gate mint`: makes credentials that the gate allows.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::child::{gate_binary, mqtt_gate, run};
use crate::support::device::KEY;
use crate::support::http::post_json;
use crate::support::in_process::{AUTH_CORE, Gate};

/// Asserts that a gate with [`KEY`], for any group, allows what `mint` makes with this key and these arguments.
async fn assert_minted_credential_is_allowed(key: &str, arguments: &[&str]) {
    let gate = Gate::start_with(AUTH_CORE, |config| config.policy.first.settings.set("groups", "*".into())).await;
    let mut command = mqtt_gate(["mint"].iter().chain(arguments).copied());
    let (code, printed, error) = run(command.env("MQTT_SIGNATURE_KEY", key)).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let body: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(gate.request(&post_json("/mqtt/auth", &body)).await.status, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minted_credential_is_allowed() {
    assert_minted_credential_is_allowed(KEY, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_key_of_several_signs() {
    let keys = format!(r#"[{{"id":"now","key":"{KEY}"}},{{"id":"before","key":"another key, also long enough"}}]"#);
    assert_minted_credential_is_allowed(&keys, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minted_credential_of_a_given_client_is_allowed() {
    let client = ["--group", "board", "--mac", "aa:bb:cc:dd:ee:ff", "--suffix", "t", "--ip", "10.0.0.1"];
    assert_minted_credential_is_allowed(KEY, &client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_key_exits_64() {
    let (code, printed, error) = run(&mut mqtt_gate(["mint"])).await;
    assert_eq!((code, printed.as_str()), (Some(64), ""));
    assert!(error.contains("MQTT_SIGNATURE_KEY") && error.lines().count() == 1, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_client_exits_64() {
    let (code, printed, error) = run(mqtt_gate(["mint", "--mac", "x"]).env("MQTT_SIGNATURE_KEY", KEY)).await;
    assert_eq!((code, printed.as_str()), (Some(64), ""));
    assert!(error.contains("client id") && error.lines().count() == 1 && !error.contains(KEY), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_file_and_count_make_distinct_clients() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("key");
    fs::write(&file, format!("{KEY}\n")).unwrap();
    let arguments = ["mint", "--key-file", file.to_str().unwrap(), "--count", "20"];
    let (code, printed, error) = run(&mut mqtt_gate(arguments)).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let devices: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let client_ids: BTreeSet<&str> = devices.iter().map(|device| device["client_id"].as_str().unwrap()).collect();
    assert_eq!((devices.len(), client_ids.len()), (20, 20));
    let gate = Gate::start(AUTH_CORE).await;
    for device in &devices {
        assert_eq!(gate.request(&post_json("/mqtt/auth", device)).await.status, 200);
    }
    gate.stop().await;
}

/// The pipeline of the help text.
#[tokio::test(flavor = "multi_thread")]
async fn minted_credential_pipes_into_eval() {
    let directory = TempDir::new().unwrap();
    fs::copy(AUTH_CORE, directory.path().join("policy.wasm")).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "mqtt-gate mint | mqtt-gate eval policy.wasm"]).current_dir(&directory).kill_on_drop(true);
    let path = format!("{}:{}", gate_binary().parent().unwrap().display(), env!("PATH"));
    let (code, printed, error) = run(shell.env("PATH", path).env("MQTT_SIGNATURE_KEY", KEY)).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(printed.starts_with("allow\n"), "{printed}");
}
