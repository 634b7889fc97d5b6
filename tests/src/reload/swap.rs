//! Another policy is copied over the file, in whatever way, and the next login is judged by it.

use std::fs;
use std::num::NonZero;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use crate::support::device::{Device, KEY};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, OPERATOR};

/// Let in by the default policy alone, and by the lockdown alone.
async fn answers(gate: &Gate) -> (u16, u16) {
    (gate.connect(&Device::genuine()).await, gate.connect(&Device::named(OPERATOR)).await)
}

const BY_AUTH_CORE: (u16, u16) = (200, 401);
const BY_LOCKDOWN: (u16, u16) = (401, 200);

#[tokio::test(flavor = "multi_thread")]
async fn a_write_in_place_swaps_the_policy_and_back() {
    let gate = Gate::start(AUTH_CORE).await;
    assert_eq!(answers(&gate).await, BY_AUTH_CORE);
    gate.write_policy(&fs::read(LOCKDOWN).unwrap());
    let status = gate.until_generation(2).await;
    assert_eq!(status["policy"]["name"], "lockdown");
    assert_eq!(answers(&gate).await, BY_LOCKDOWN);
    gate.write_policy(&fs::read(AUTH_CORE).unwrap());
    gate.until_generation(3).await;
    assert_eq!(answers(&gate).await, BY_AUTH_CORE);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_swaps_the_policy() {
    let gate = Gate::start(AUTH_CORE).await;
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    gate.until_generation(2).await;
    assert_eq!(answers(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

/// A mounted ConfigMap: `policy.wasm -> ..data/policy.wasm`, `..data -> ..1`, and the swap is a rename of `..data`.
#[tokio::test(flavor = "multi_thread")]
async fn a_symlinked_directory_that_is_exchanged_swaps_the_policy() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (version, component) in [("..1", AUTH_CORE), ("..2", LOCKDOWN)] {
        fs::create_dir(at(version)).unwrap();
        fs::copy(component, at(version).join("policy.wasm")).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/policy.wasm", at("policy.wasm")).unwrap();
    let gate = Gate::start_in(directory, |_| {}).await;
    assert_eq!(answers(&gate).await, BY_AUTH_CORE);
    symlink("..2", gate.directory().join("..data_tmp")).unwrap();
    fs::rename(gate.directory().join("..data_tmp"), gate.directory().join("..data")).unwrap();
    gate.until_generation(2).await;
    assert_eq!(answers(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

/// No event comes from the directory that is watched: the look every few seconds finds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_through_the_target_of_a_symlink_swaps_the_policy() {
    let elsewhere = TempDir::new().unwrap();
    let target = elsewhere.path().join("real.wasm");
    fs::copy(AUTH_CORE, &target).unwrap();
    let directory = TempDir::new().unwrap();
    symlink(&target, directory.path().join("policy.wasm")).unwrap();
    let gate = Gate::start_in(directory, |_| {}).await;
    fs::copy(LOCKDOWN, &target).unwrap();
    gate.until_generation(2).await;
    assert_eq!(answers(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_file_keeps_the_old_policy_until_it_is_whole() {
    let gate = Gate::start(AUTH_CORE).await;
    let whole = fs::read(LOCKDOWN).unwrap();
    gate.write_policy(&whole[..whole.len() / 2]);
    gate.until_rejected(1).await;
    assert_eq!(answers(&gate).await, BY_AUTH_CORE);
    gate.write_policy(&whole);
    gate.until_generation(2).await;
    assert_eq!(answers(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_leaves_the_policy_in_service_and_can_come_back() {
    let gate = Gate::start(AUTH_CORE).await;
    fs::remove_file(gate.policy_file()).unwrap();
    let status = gate.until_rejected(1).await;
    assert!(status["rejected"]["last"]["reason"].as_str().unwrap().contains("cannot read"));
    assert_eq!(answers(&gate).await, BY_AUTH_CORE);
    gate.write_policy(&fs::read(LOCKDOWN).unwrap());
    gate.until_generation(2).await;
    assert_eq!(answers(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

/// The key changes after each copy, so that each has been looked at when the next one comes. All by rename: what is
/// written in place is torn for a moment, and a loaded machine can make that moment long.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_again_are_no_swap() {
    let keys = TempDir::new().unwrap();
    let file = keys.path().join("key");
    fs::write(&file, KEY).unwrap();
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.policy.settings.set_from_file("signature-keys", file.clone());
    })
    .await;
    for round in 1..=5 {
        gate.rename_policy(&fs::read(AUTH_CORE).unwrap());
        let new = keys.path().join("new");
        fs::write(&new, format!("{KEY} {round}")).unwrap();
        fs::rename(new, &file).unwrap();
        let status = gate.until("the key is changed", |status| status["policy"]["generation"].as_u64() > Some(round));
        assert_eq!(status.await["policy"]["generation"], round + 1);
    }
    assert_eq!(gate.status().await["rejected"]["count"], 0);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_replaced_is_watched_again() {
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
    let gate = Gate::start_with(AUTH_CORE, |config| config.policy.file = Some(file.clone())).await;
    symlink("2", &new).unwrap();
    fs::rename(new, &current).unwrap();
    gate.until_generation(2).await;
    assert_eq!(answers(&gate).await, BY_LOCKDOWN);
    fs::write(&file, fs::read(AUTH_CORE).unwrap()).unwrap();
    gate.until_generation(3).await;
    assert_eq!(answers(&gate).await, BY_AUTH_CORE);
    gate.stop().await;
}

/// A pipe would keep its reader waiting for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_regular_file_is_refused_and_holds_nothing_up() {
    let gate = Gate::start(AUTH_CORE).await;
    fs::remove_file(gate.policy_file()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(gate.policy_file()).status().unwrap().success());
    let status = gate.until("the pipe is refused", |status| {
        status["rejected"]["last"]["reason"].as_str().is_some_and(|reason| reason.contains("not a regular file"))
    });
    status.await;
    assert_eq!(answers(&gate).await, BY_AUTH_CORE);
    gate.stop().await;
}

/// Nothing that a policy is known by depends on how long its instances live.
#[tokio::test(flavor = "multi_thread")]
async fn fresh_instances_swap_like_warm_ones() {
    let gate = Gate::start_with(AUTH_CORE, |config| config.limits.calls_per_instance = NonZero::<u32>::MIN).await;
    assert_eq!(gate.status().await["policy"]["settings_not_read"], serde_json::json!(["clients"]));
    let text = gate.ask(&crate::support::http::get("/mqtt/auth")).await.text().to_owned();
    assert!(text.contains("signature key: set"), "{text}");
    assert_eq!(answers(&gate).await, BY_AUTH_CORE);
    gate.write_policy(&fs::read(LOCKDOWN).unwrap());
    gate.until_generation(2).await;
    assert_eq!(answers(&gate).await, BY_LOCKDOWN);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_changes_changes_the_key() {
    let keys = TempDir::new().unwrap();
    let file = keys.path().join("key");
    fs::write(&file, format!("{KEY}\n")).unwrap();
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.policy.settings.set_from_file("signature-keys", file.clone());
    })
    .await;
    let (old, new) = (Device::genuine(), Device::signed_with("another key of these tests"));
    assert_eq!((gate.connect(&old).await, gate.connect(&new).await), (200, 401));

    // A ring of both, as in a rotation.
    let ring = format!(r#"[{{"id":"new","key":"another key of these tests"}},{{"id":"old","key":"{KEY}"}}]"#);
    fs::write(&file, ring).unwrap();
    gate.until_generation(2).await;
    assert_eq!((gate.connect(&old).await, gate.connect(&new).await), (200, 200));

    fs::write(&file, "another key of these tests").unwrap();
    let status = gate.until_generation(3).await;
    assert_eq!((gate.connect(&old).await, gate.connect(&new).await), (401, 200));

    // A key that is emptied, published or taken away is refused, and the one before it goes on.
    for (count, bad) in [(1, Some("")), (2, Some("test-signature-key-12345")), (3, None)] {
        match bad {
            Some(key) => fs::write(&file, key).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let now = gate.until_rejected(count).await;
        assert_eq!(now["policy"], status["policy"]);
        assert!(!now.to_string().contains("test-signature-key"));
        assert_eq!((gate.connect(&old).await, gate.connect(&new).await), (401, 200));
    }
    gate.stop().await;
}
