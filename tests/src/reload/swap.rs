//! Swaps: the policy file is replaced in any usual way, and the next login is evaluated by the new policy.

use std::fs;
use std::num::NonZero;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use crate::support::device::{Device, KEY};
use crate::support::http;
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, OPERATOR};

/// Status codes for a client that only the default policy allows, and for one that only lockdown allows.
async fn verdicts(gate: &Gate) -> (u16, u16) {
    (gate.authenticate(&Device::valid()).await, gate.authenticate(&Device::unsigned(OPERATOR)).await)
}

const BY_AUTH_CORE: (u16, u16) = (200, 401);
const BY_LOCKDOWN: (u16, u16) = (401, 200);

#[tokio::test(flavor = "multi_thread")]
async fn write_in_place_swaps_the_policy_and_back() {
    let gate = Gate::start(AUTH_CORE).await;
    assert_eq!(verdicts(&gate).await, BY_AUTH_CORE);
    gate.write_policy(&fs::read(LOCKDOWN).unwrap());
    let status = gate.wait_for_generation(2).await;
    assert_eq!(status["policy"]["name"], "lockdown");
    assert_eq!(verdicts(&gate).await, BY_LOCKDOWN);
    gate.write_policy(&fs::read(AUTH_CORE).unwrap());
    gate.wait_for_generation(3).await;
    assert_eq!(verdicts(&gate).await, BY_AUTH_CORE);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rename_swaps_the_policy() {
    let gate = Gate::start(AUTH_CORE).await;
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    gate.wait_for_generation(2).await;
    assert_eq!(verdicts(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

/// A mounted ConfigMap: `policy.wasm -> ..data/policy.wasm` and `..data -> ..1`. An update renames a new `..data`.
#[tokio::test(flavor = "multi_thread")]
async fn config_map_update_swaps_the_policy() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (version, component) in [("..1", AUTH_CORE), ("..2", LOCKDOWN)] {
        fs::create_dir(at(version)).unwrap();
        fs::copy(component, at(version).join("policy.wasm")).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/policy.wasm", at("policy.wasm")).unwrap();
    let gate = Gate::start_in(directory, |_| {}).await;
    assert_eq!(verdicts(&gate).await, BY_AUTH_CORE);
    symlink("..2", gate.directory().join("..data_tmp")).unwrap();
    fs::rename(gate.directory().join("..data_tmp"), gate.directory().join("..data")).unwrap();
    gate.wait_for_generation(2).await;
    assert_eq!(verdicts(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

/// No event comes from the watched directory: the periodic poll finds the change.
#[tokio::test(flavor = "multi_thread")]
async fn write_to_the_target_of_a_symlink_swaps_the_policy() {
    let elsewhere = TempDir::new().unwrap();
    let target = elsewhere.path().join("real.wasm");
    fs::copy(AUTH_CORE, &target).unwrap();
    let directory = TempDir::new().unwrap();
    symlink(&target, directory.path().join("policy.wasm")).unwrap();
    let gate = Gate::start_in(directory, |_| {}).await;
    fs::copy(LOCKDOWN, &target).unwrap();
    gate.wait_for_generation(2).await;
    assert_eq!(verdicts(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_directory_is_watched_again() {
    let directory = TempDir::new().unwrap();
    let release = |name: &str, component: &str| {
        fs::create_dir(directory.path().join(name)).unwrap();
        fs::copy(component, directory.path().join(name).join("policy.wasm")).unwrap();
    };
    release("1", AUTH_CORE);
    release("2", LOCKDOWN);
    let (current, new) = (directory.path().join("current"), directory.path().join("new"));
    symlink("1", &current).unwrap();
    let file = current.join("policy.wasm");
    let gate = Gate::start_with(AUTH_CORE, |config| config.policy.first.file = Some(file.clone())).await;
    symlink("2", &new).unwrap();
    fs::rename(new, &current).unwrap();
    gate.wait_for_generation(2).await;
    assert_eq!(verdicts(&gate).await, BY_LOCKDOWN);
    fs::write(&file, fs::read(AUTH_CORE).unwrap()).unwrap();
    gate.wait_for_generation(3).await;
    assert_eq!(verdicts(&gate).await, BY_AUTH_CORE);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_file_keeps_the_active_policy_until_it_is_complete() {
    let gate = Gate::start(AUTH_CORE).await;
    let complete = fs::read(LOCKDOWN).unwrap();
    gate.write_policy(&complete[..complete.len() / 2]);
    gate.wait_for_rejection(1).await;
    assert_eq!(verdicts(&gate).await, BY_AUTH_CORE);
    gate.write_policy(&complete);
    gate.wait_for_generation(2).await;
    assert_eq!(verdicts(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_file_keeps_the_active_policy_until_a_new_one_appears() {
    let gate = Gate::start(AUTH_CORE).await;
    fs::remove_file(gate.policy_file()).unwrap();
    let status = gate.wait_for_rejection(1).await;
    assert!(status["rejected"]["last"]["reason"].as_str().unwrap().contains("policy.wasm"), "{status}");
    assert_eq!(verdicts(&gate).await, BY_AUTH_CORE);
    gate.write_policy(&fs::read(LOCKDOWN).unwrap());
    gate.wait_for_generation(2).await;
    assert_eq!(verdicts(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

/// Reading a named pipe would block for ever.
#[tokio::test(flavor = "multi_thread")]
async fn named_pipe_is_rejected_without_blocking() {
    let gate = Gate::start(AUTH_CORE).await;
    fs::remove_file(gate.policy_file()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(gate.policy_file()).status().unwrap().success());
    gate.wait_until("the pipe is rejected", |status| {
        status["rejected"]["last"]["reason"].as_str().is_some_and(|reason| reason.contains("not a regular file"))
    })
    .await;
    assert_eq!(verdicts(&gate).await, BY_AUTH_CORE);
    gate.stop().await;
}

/// The key changes after each copy, so each copy has been noticed before the next one. Files are replaced by rename: a
/// write in place leaves a truncated file, for a long time on a loaded machine.
#[tokio::test(flavor = "multi_thread")]
async fn identical_component_is_not_a_swap() {
    let keys = TempDir::new().unwrap();
    let file = keys.path().join("key");
    fs::write(&file, KEY).unwrap();
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.policy.first.settings.set_from_file("signature-keys", file.clone());
    })
    .await;
    for round in 1..=5 {
        gate.rename_policy(&fs::read(AUTH_CORE).unwrap());
        let new = keys.path().join("new");
        fs::write(&new, format!("{KEY} {round}")).unwrap();
        fs::rename(new, &file).unwrap();
        let is_changed = |status: &serde_json::Value| status["policy"]["generation"].as_u64() > Some(round);
        let status = gate.wait_until("the key is changed", is_changed).await;
        assert_eq!(status["policy"]["generation"], round + 1);
    }
    assert_eq!(gate.status().await["rejected"]["count"], 0);
    gate.stop().await;
}

/// What the gate knows about a policy does not depend on the lifetime of its instances.
#[tokio::test(flavor = "multi_thread")]
async fn swaps_with_an_instance_per_call() {
    let gate = Gate::start_with(AUTH_CORE, |config| config.limits.max_calls_per_instance = NonZero::<u32>::MIN).await;
    assert_eq!(gate.status().await["policy"]["unused_settings"], serde_json::json!(["clients"]));
    let text = gate.request(&http::get("/mqtt/auth")).await.text().to_owned();
    assert!(text.contains("signature key: set"), "{text}");
    assert_eq!(verdicts(&gate).await, BY_AUTH_CORE);
    gate.write_policy(&fs::read(LOCKDOWN).unwrap());
    gate.wait_for_generation(2).await;
    assert_eq!(verdicts(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

/// No client waits for the first instance of a new policy.
#[tokio::test(flavor = "multi_thread")]
async fn workers_have_an_instance_of_the_new_policy_before_the_swap() {
    let gate = Gate::start_with(AUTH_CORE, |config| config.workers = NonZero::<usize>::MIN).await;
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    gate.wait_for_generation(2).await;
    gate.wait_until("the worker has an instance", |status| status["instances"]["alive"] == 1).await;
    gate.stop().await;
}
