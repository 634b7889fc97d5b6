//! The component and the settings of a policy, when only one of them can be used.

use std::fs;

use tempfile::TempDir;

use crate::support::device::{Device, KEY};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, OPERATOR};

const OTHER_KEY: &str = "another key of these tests";

/// A gate that reads its key from the file `key` in a directory.
async fn gate_with_key_file() -> (Gate, TempDir) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("key");
    fs::write(&file, KEY).unwrap();
    let gate =
        Gate::start_with(AUTH_CORE, |config| config.policy.first.settings.set_from_file("signature-keys", file)).await;
    (gate, directory)
}

async fn wait_until_on_hold(gate: &Gate, part: &str) {
    gate.wait_until("a part is on hold", |status| status["rejected"]["on_hold"] == part).await;
}

/// Asserts that a key is revoked although the policy file cannot be used.
async fn assert_key_is_revoked_beside(spoil_policy: impl FnOnce(&Gate)) {
    let (gate, directory) = gate_with_key_file().await;
    spoil_policy(&gate);
    wait_until_on_hold(&gate, "component").await;
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);

    fs::write(directory.path().join("key"), OTHER_KEY).unwrap();
    gate.wait_for_generation(2).await;
    assert_eq!(gate.authenticate(&Device::valid()).await, 401, "the old key is revoked");
    assert_eq!(gate.authenticate(&Device::signed_with(OTHER_KEY)).await, 200);
    wait_until_on_hold(&gate, "component").await;

    gate.rename_policy(&fs::read(AUTH_CORE).unwrap());
    let status = gate.wait_until("the file is restored", |status| status["rejected"]["on_hold"].is_null()).await;
    assert_eq!(status["policy"]["generation"], 2);
    assert_eq!(gate.authenticate(&Device::signed_with(OTHER_KEY)).await, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_revoked_while_the_policy_file_is_bad() {
    assert_key_is_revoked_beside(|gate| gate.rename_policy(b"garbage")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_revoked_while_the_policy_file_is_missing() {
    assert_key_is_revoked_beside(|gate| fs::remove_file(gate.policy_file()).unwrap()).await;
}

/// An incident policy must not wait for a key that it does not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_lockdown_takes_effect_while_the_key_file_is_missing() {
    let (gate, directory) = gate_with_key_file().await;
    fs::remove_file(directory.path().join("key")).unwrap();
    wait_until_on_hold(&gate, "settings").await;
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    assert_eq!(gate.wait_for_generation(2).await["policy"]["name"], "lockdown");
    wait_until_on_hold(&gate, "settings").await;
    assert_eq!(gate.authenticate(&Device::valid()).await, 401);
    assert_eq!(gate.authenticate(&Device::unsigned(OPERATOR)).await, 200);

    // A new key becomes active with the component that serves.
    fs::write(directory.path().join("key"), OTHER_KEY).unwrap();
    gate.wait_for_generation(3).await;
    gate.wait_until("nothing is on hold", |status| status["rejected"]["on_hold"].is_null()).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_activated_if_neither_part_can_be_used() {
    let (gate, directory) = gate_with_key_file().await;
    gate.rename_policy(b"garbage");
    gate.wait_for_rejection(1).await;
    fs::write(directory.path().join("key"), "null").unwrap();
    wait_until_on_hold(&gate, "component-or-settings").await;
    assert_eq!(gate.status().await["policy"]["generation"], 1);
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    gate.stop().await;
}
