//! Settings in files: a changed file takes effect like a changed policy.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::child::{GateProcess, mqtt_gate, run};
use crate::support::device::{Device, KEY};
use crate::support::http::Connection;
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::poll_until;

const OTHER_KEY: &str = "another key of these tests";

/// A gate that reads its key from a file.
async fn gate_with_key_file() -> (Gate, PathBuf, TempDir) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("key");
    fs::write(&file, format!("{KEY}\n")).unwrap();
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.policy.first.settings.set_from_file("signature-keys", file.clone());
    })
    .await;
    (gate, file, directory)
}

/// Status codes for devices of the old and of the new key.
async fn verdicts(gate: &Gate) -> (u16, u16) {
    let (old, new) = (Device::valid(), Device::signed_with(OTHER_KEY));
    (gate.authenticate(&old).await, gate.authenticate(&new).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn key_file_rotates_without_a_gap() {
    let (gate, file, _directory) = gate_with_key_file().await;
    assert_eq!(verdicts(&gate).await, (200, 401));
    let both = format!(r#"[{{"id":"new","key":"{OTHER_KEY}"}},{{"id":"old","key":"{KEY}"}}]"#);
    fs::write(&file, both).unwrap();
    gate.wait_for_generation(2).await;
    assert_eq!(verdicts(&gate).await, (200, 200));
    fs::write(&file, OTHER_KEY).unwrap();
    gate.wait_for_generation(3).await;
    assert_eq!(verdicts(&gate).await, (401, 200));
    gate.stop().await;
}

/// Asserts that a change of the key file is rejected, and that the previous key remains active.
async fn assert_keeps_key(change: impl FnOnce(&PathBuf)) {
    let (gate, file, _directory) = gate_with_key_file().await;
    let policy = gate.status().await["policy"].clone();
    change(&file);
    let status = gate.wait_for_rejection(1).await;
    assert_eq!(status["policy"], policy);
    assert!(!status.to_string().contains("test-signature-key"), "a key is shown");
    assert_eq!(verdicts(&gate).await, (200, 401));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_key_file_keeps_the_previous_key() {
    assert_keeps_key(|file| fs::write(file, "").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_key_keeps_the_previous_key() {
    assert_keeps_key(|file| fs::write(file, "test-signature-key-12345").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_key_file_keeps_the_previous_key() {
    assert_keeps_key(|file| fs::remove_file(file).unwrap()).await;
}

/// `MQTT_SIGNATURE_KEY_FILE`, as Docker secrets are passed: the file is followed like any other.
#[tokio::test(flavor = "multi_thread")]
async fn key_file_from_the_environment_is_followed() {
    let directory = TempDir::new().unwrap();
    let key = directory.path().join("key");
    fs::write(&key, KEY).unwrap();
    let gate = GateProcess::start(mqtt_gate(["serve"]).env("MQTT_SIGNATURE_KEY_FILE", &key)).await;
    let login = async |device: &Device| Connection::open(gate.auth).await.request(&device.request()).await.status;
    assert_eq!(login(&Device::valid()).await, 200);
    fs::write(&key, OTHER_KEY).unwrap();
    let other = Device::signed_with(OTHER_KEY);
    poll_until("the new key is valid", async || (login(&other).await == 200).then_some(())).await;
    assert_eq!(login(&Device::valid()).await, 401);
    gate.stop().await;

    let mut mint = mqtt_gate(["mint"]);
    let (code, printed, error) = run(mint.env("MQTT_SIGNATURE_KEY_FILE", &key)).await;
    assert!(code == Some(0) && printed.contains("password"), "{error}");
}

/// A file that is mounted into a container keeps the file that was mounted. Here a descriptor stands for the mount.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_replaced_outside_its_mount_is_named() {
    let directory = tempfile::TempDir::new().unwrap();
    let outside = directory.path().join("policy.wasm");
    fs::copy(AUTH_CORE, &outside).unwrap();
    let mounted = fs::File::open(&outside).unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&mounted));
    let gate = Gate::start_with(AUTH_CORE, |config| config.policy.first.file = Some(path.clone().into())).await;
    assert_eq!(gate.status().await["detached_files"], serde_json::json!([]));
    fs::rename(gate.policy_file(), &outside).unwrap();
    gate.wait_until("the file is named", |status| status["detached_files"][0] == path.as_str()).await;
    gate.stop().await;
}
