//! `mqtt-gate swap` and `rollback`: another policy is active when they exit 0, or everything is as before.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::child::{mqtt_gate, run};
use crate::support::cli_fixture::{Cli, SwapFixture, run_json};
use crate::support::device::KEY;
use crate::support::in_process::{AUTH_CORE, LOCKDOWN, MISBEHAVING};
use crate::support::swap_load::SwapLoad;

/// The content of a file; `None` if it does not exist.
fn content(file: &Path) -> Option<Vec<u8>> {
    fs::read(file).ok()
}

fn component(file: &str) -> Option<Vec<u8>> {
    Some(fs::read(file).unwrap())
}

/// Asserts which components the policy file and the previous one hold.
fn assert_files(site: &SwapFixture, policy: &str, previous: Option<&str>) {
    assert!(content(&site.policy()) == component(policy), "the policy file is not {policy}");
    assert!(content(&site.previous()) == previous.and_then(component), "the previous file is not {previous:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_policy_is_active_on_exit() {
    let site = SwapFixture::start().await;
    let (code, report, error) = site.cli.swap(LOCKDOWN).await;
    assert_eq!((code, error.as_str(), &report["outcome"]), (Some(0), "", &json!("activated")));
    assert_eq!((&report["before"]["name"], &report["before"]["generation"]), (&json!("auth-core"), &json!(1)));
    assert_eq!((&report["after"]["name"], &report["after"]["generation"]), (&json!("lockdown"), &json!(2)));
    assert_eq!(report["previous"]["sha256"], report["before"]["sha256"]);
    assert_eq!(site.gate.status().await["policy"]["sha256"], report["after"]["sha256"]);
    assert_files(&site, LOCKDOWN, Some(AUTH_CORE));
    site.assert_no_leftovers();
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_swap_keeps_the_previous_policy() {
    let site = SwapFixture::start().await;
    assert_eq!(site.cli.swap(LOCKDOWN).await.0, Some(0));
    let (code, report, _) = site.cli.swap(LOCKDOWN).await;
    assert_eq!((code, &report["outcome"]), (Some(0), &json!("already-active")));
    assert_files(&site, LOCKDOWN, Some(AUTH_CORE));
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollbacks_toggle_between_two_policies() {
    let site = SwapFixture::start().await;
    assert_eq!(site.cli.swap(LOCKDOWN).await.0, Some(0));
    for (generation, name, previous) in [(3, "auth-core", LOCKDOWN), (4, "lockdown", AUTH_CORE)] {
        let (code, report, error) = site.cli.rollback().await;
        assert_eq!((code, error.as_str(), &report["after"]["name"]), (Some(0), "", &json!(name)));
        assert_eq!(site.gate.status().await["policy"]["generation"], generation);
        assert_eq!(content(&site.previous()), component(previous));
    }
    site.assert_no_leftovers();
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_prints_both_policies() {
    let site = SwapFixture::start().await;
    assert_eq!(site.cli.swap(LOCKDOWN).await.0, Some(0));
    let (code, printed, _) = run(&mut site.cli.command(&["rollback"])).await;
    assert_eq!(code, Some(0));
    let line = |name: &str| printed.lines().position(|line| line.contains(name)).unwrap_or_else(|| panic!("{printed}"));
    assert!(line("lockdown, ") < line("auth-core, "), "{printed}");
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_without_a_previous_policy_exits_64() {
    let site = SwapFixture::start().await;
    let (code, _, error) = site.cli.rollback().await;
    assert_eq!((code, error.lines().count()), (Some(64), 1), "{error}");
    assert_files(&site, AUTH_CORE, None);
    site.gate.stop().await;
}

/// Only the new policy gives verdicts from the moment that a command exits.
#[tokio::test(flavor = "multi_thread")]
async fn swaps_and_rollbacks_under_load_lose_no_request() {
    const SWAPS: u64 = 6;
    let site = SwapFixture::start().await;
    let load = SwapLoad::start(&site.gate, SWAPS).await;
    for swap in 1..=SWAPS {
        let run = async { if swap == 1 { site.cli.swap(LOCKDOWN).await } else { site.cli.rollback().await } };
        let (code, _, error) = load.during(run).await;
        assert_eq!(code, Some(0), "swap {swap}: {error}");
    }
    let status = load.finish(&site.gate).await;
    assert_eq!(status["policy"]["generation"], SWAPS + 1);
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_that_fails_its_check_is_named_and_changes_nothing() {
    let site = SwapFixture::start().await;
    let bad = site.cli.directory.path().join("bad.wasm");
    fs::write(&bad, "garbage").unwrap();
    let status = async || {
        let mut status = site.gate.status().await;
        status["now"].take();
        status
    };
    let before = status().await;
    let (code, report, error) = site.cli.swap(bad.to_str().unwrap()).await;
    assert_eq!((code, report), (Some(64), Value::Null));
    assert!(error.contains("bad.wasm") && error.contains("not a component"), "{error}");
    assert_files(&site, AUTH_CORE, None);
    assert_eq!(status().await, before);
    site.gate.stop().await;
}

/// The policy passes the check of the command line and is rejected by the gate, which has a setting that the command
/// line does not know. Done twice, because a gate logs the same rejection once.
#[tokio::test(flavor = "multi_thread")]
async fn policy_that_the_gate_rejects_is_undone() {
    let site = SwapFixture::start_with(|config| config.policy.first.settings.set("check", "fails".into())).await;
    assert_eq!(site.cli.swap(LOCKDOWN).await.0, Some(0));
    for timeout in ["60s", "1s"] {
        let mut command = site.cli.command(&["swap", MISBEHAVING, "--json", "--timeout", timeout]);
        let (code, report, error) = run_json(&mut command).await;
        assert_eq!((code, &report["outcome"]), (Some(1), &json!("rejected")), "{error}");
        assert!(report["reason"].as_str().unwrap().contains("check"), "{report}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!((&report["before"], &report["after"]["name"]), (&report["after"], &json!("lockdown")));
        // The file agrees with the active policy, and the previous one is still the other good one.
        assert_files(&site, LOCKDOWN, Some(AUTH_CORE));
        assert_eq!(site.gate.status().await["policy"]["name"], "lockdown");
    }
    site.assert_no_leftovers();
    assert_eq!(site.cli.rollback().await.1["after"]["name"], "auth-core");
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_replaces_an_invalid_file_and_does_not_keep_it() {
    let site = SwapFixture::start().await;
    assert_eq!(site.cli.swap(LOCKDOWN).await.0, Some(0));
    site.gate.rename_policy(b"garbage");
    site.gate.wait_for_rejection(1).await;
    let (code, report, error) = site.cli.rollback().await;
    assert_eq!((code, &report["after"]["name"]), (Some(0), &json!("auth-core")), "{error}");
    assert_eq!(report["previous"], Value::Null);
    assert_files(&site, AUTH_CORE, Some(AUTH_CORE));
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swap_restores_a_missing_file_of_the_active_policy() {
    let site = SwapFixture::start().await;
    fs::remove_file(site.policy()).unwrap();
    assert_eq!(site.cli.swap(AUTH_CORE).await.1["outcome"], "already-active");
    assert_eq!(content(&site.policy()), component(AUTH_CORE));
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_gate_exits_70_and_changes_nothing() {
    let SwapFixture { gate, cli } = SwapFixture::start().await;
    let directory = TempDir::new().unwrap();
    let policy = directory.path().join("policy.wasm");
    fs::copy(AUTH_CORE, &policy).unwrap();
    gate.stop().await;
    let mut command = cli.command(&["swap", LOCKDOWN, "--policy", policy.to_str().unwrap()]);
    let (code, printed, error) = run(&mut command).await;
    assert_eq!((code, printed.as_str()), (Some(70), ""), "{error}");
    assert!(error.contains(&cli.admin) && error.lines().count() == 1, "{error}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    assert_eq!(content(&policy), component(AUTH_CORE));
}

/// A command line for a file that the gate does not watch, with this component in it.
async fn unwatched(site: &SwapFixture, component: &str) -> (Cli, TempDir) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("policy.wasm");
    fs::copy(component, &file).unwrap();
    (Cli::for_gate(&site.gate, file), directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn unwatched_file_with_another_component_exits_64() {
    let site = SwapFixture::start().await;
    let (cli, directory) = unwatched(&site, MISBEHAVING).await;
    let (code, report, error) = cli.swap(LOCKDOWN).await;
    assert_eq!((code, report), (Some(64), Value::Null));
    assert!(error.contains("another file"), "{error}");
    assert_eq!(content(&cli.policy), component(MISBEHAVING));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "the directory has leftovers");
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unwatched_file_with_the_active_component_times_out_and_is_undone() {
    let site = SwapFixture::start().await;
    let (cli, directory) = unwatched(&site, AUTH_CORE).await;
    let (code, report, error) = run_json(&mut cli.command(&["swap", LOCKDOWN, "--json", "--timeout", "1s"])).await;
    assert_eq!((code, &report["outcome"]), (Some(1), &json!("timeout")));
    assert!(error.contains("another file") && error.contains(&cli.admin), "{error}");
    assert_eq!(content(&cli.policy), component(AUTH_CORE));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "the directory has leftovers");
    assert_eq!(site.gate.status().await["policy"]["generation"], 1);
    site.gate.stop().await;
}

/// Asserts that `swap` does not replace a symbolic link, and that the error contains `expected`.
async fn assert_keeps_link(directory: &Path, link: &str, expected: &str) {
    let site = SwapFixture::start().await;
    let path = directory.join(link);
    let mut command = site.cli.command(&["swap", LOCKDOWN, "--policy", path.to_str().unwrap()]);
    let (code, _, error) = run(&mut command).await;
    assert!(code == Some(64) && error.contains(expected), "{error}");
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink() && content(&path) == component(AUTH_CORE));
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn config_map_link_is_not_replaced() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("..2026_11")).unwrap();
    fs::copy(AUTH_CORE, at("..2026_11").join("mounted.wasm")).unwrap();
    symlink("..2026_11", at("..data")).unwrap();
    symlink("..data/mounted.wasm", at("mounted.wasm")).unwrap();
    assert_keeps_link(directory.path(), "mounted.wasm", "ConfigMap").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn symbolic_link_is_not_replaced() {
    let directory = TempDir::new().unwrap();
    fs::copy(AUTH_CORE, directory.path().join("release-1.wasm")).unwrap();
    symlink("release-1.wasm", directory.path().join("current.wasm")).unwrap();
    assert_keeps_link(directory.path(), "current.wasm", "release-1.wasm").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swap_preserves_file_permissions() {
    let site = SwapFixture::start().await;
    fs::set_permissions(site.policy(), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(site.cli.swap(LOCKDOWN).await.0, Some(0));
    for file in [site.policy(), site.previous()] {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640, "{}", file.display());
    }
    site.gate.stop().await;
}

/// Each of two swaps would keep the file of the other as the previous one.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_swaps_are_rejected() {
    let site = SwapFixture::start().await;
    let lock = fs::File::open(site.gate.directory()).unwrap();
    lock.lock().unwrap();
    let (code, _, error) = site.cli.swap(LOCKDOWN).await;
    assert!(code == Some(64) && error.contains("another swap"), "{error}");
    drop(lock);
    assert_eq!(site.cli.swap(LOCKDOWN).await.0, Some(0));
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swap_without_a_watched_file_exits_64() {
    let (code, _, error) = run(mqtt_gate(["swap", AUTH_CORE]).env("MQTT_SIGNATURE_KEY", KEY)).await;
    assert!(code == Some(64) && error.lines().count() == 1 && error.contains("policy"), "{error}");
}
