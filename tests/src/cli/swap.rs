//! `mqtt-gate swap` and `rollback`: another policy serves, or everything is as it was.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::reload::swap_under_load::{CONNECTIONS, Phase, storm};
use crate::support::child::{mqtt_gate, run};
use crate::support::cli_fixture::{Operator, Site, told};
use crate::support::device::KEY;
use crate::support::http::Connection;
use crate::support::in_process::{AUTH_CORE, LOCKDOWN, MISBEHAVING};

/// What is in a file; `None` if it is not there.
fn content(file: &Path) -> Option<Vec<u8>> {
    fs::read(file).ok()
}

fn component(file: &str) -> Option<Vec<u8>> {
    Some(fs::read(file).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_serves_when_it_returns_and_a_rollback_toggles() {
    let site = Site::start().await;
    let (code, report, error) = site.operator.swap(LOCKDOWN).await;
    assert_eq!((code, error.as_str(), &report["outcome"]), (Some(0), "", &json!("serves")));
    assert_eq!((&report["before"]["name"], &report["before"]["generation"]), (&json!("auth-core"), &json!(1)));
    assert_eq!((&report["after"]["name"], &report["after"]["generation"]), (&json!("lockdown"), &json!(2)));
    assert_eq!(report["previous"]["sha256"], report["before"]["sha256"]);
    assert_eq!(site.gate.status().await["policy"]["sha256"], report["after"]["sha256"]);
    assert_eq!((content(&site.policy()), content(&site.previous())), (component(LOCKDOWN), component(AUTH_CORE)));

    // The same again changes nothing, and above all not what there is to go back to.
    let (code, report, _) = site.operator.swap(LOCKDOWN).await;
    assert_eq!((code, &report["outcome"]), (Some(0), &json!("served-already")));
    assert_eq!(content(&site.previous()), component(AUTH_CORE));

    for (generation, name, before) in [(3, "auth-core", LOCKDOWN), (4, "lockdown", AUTH_CORE)] {
        let (code, report, error) = site.operator.rollback().await;
        assert_eq!((code, error.as_str(), &report["after"]["name"]), (Some(0), "", &json!(name)));
        assert_eq!(site.gate.status().await["policy"]["generation"], generation);
        assert_eq!(content(&site.previous()), component(before));
    }
    site.assert_tidy();
    let (code, printed, _) = run(&mut site.operator.command(&["rollback"])).await;
    assert!(
        code == Some(0) && printed.contains("before  lockdown, ") && printed.contains("after   auth-core, "),
        "{printed}"
    );
    site.gate.stop().await;
}

/// The exit of each verb is the moment from which nothing but the new policy may answer.
#[tokio::test(flavor = "multi_thread")]
async fn swaps_and_rollbacks_under_load_lose_and_misjudge_nothing() {
    const CHANGES: u64 = 6;
    let site = Site::start().await;
    let phase = Phase::default();
    let mut storms = Vec::new();
    for _ in 0..CONNECTIONS {
        storms.push(tokio::spawn(storm(Connection::open(site.gate.logins).await, Arc::clone(&phase), CHANGES)));
    }
    for change in 1..=CHANGES {
        phase.fetch_add(1, SeqCst);
        let (code, _, error) =
            if change == 1 { site.operator.swap(LOCKDOWN).await } else { site.operator.rollback().await };
        assert_eq!(code, Some(0), "change {change}: {error}");
        phase.fetch_add(1, SeqCst);
    }
    let mut answers = 0;
    for storm in storms {
        answers += storm.await.unwrap();
    }
    let status = site.gate.status().await;
    assert_eq!(status["calls"].as_u64().unwrap() + status["malformed"].as_u64().unwrap(), answers);
    assert_eq!((&status["no_verdict"], &status["rejected"]["count"]), (&0.into(), &0.into()));
    assert_eq!(status["policy"]["generation"], CHANGES + 1);
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_fails_its_check_is_named_and_nothing_is_touched() {
    let site = Site::start().await;
    let bad = site.operator.directory.path().join("bad.wasm");
    fs::write(&bad, "garbage").unwrap();
    let state = async || {
        let mut status = site.gate.status().await;
        status["now"].take();
        status
    };
    let before = state().await;
    let (code, report, error) = site.operator.swap(bad.to_str().unwrap()).await;
    assert_eq!((code, report), (Some(64), Value::Null));
    assert!(error.contains("bad.wasm fails its check, and nothing was touched: not a component"), "{error}");
    assert_eq!((content(&site.policy()), content(&site.previous())), (component(AUTH_CORE), None));
    assert_eq!(state().await, before);
    let (code, _, error) = site.operator.rollback().await;
    assert!(code == Some(64) && error.contains("nothing to go back to"), "{error}");
    site.gate.stop().await;
}

/// Good here and not there: the gate has a setting that its configuration does not tell. Twice, because a gate does not
/// complain of the same thing twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_gate_refuses_after_all_is_taken_back() {
    let site = Site::start_with(|config| config.policy.settings.set("check", "fails".into())).await;
    assert_eq!(site.operator.swap(LOCKDOWN).await.0, Some(0));
    for timeout in ["60s", "1s"] {
        let mut command = site.operator.command(&["swap", MISBEHAVING, "--json", "--timeout", timeout]);
        let (code, report, error) = told(run(&mut command).await);
        assert_eq!((code, &report["outcome"]), (Some(1), &json!("refused")), "{error}");
        assert!(report["reason"].as_str().unwrap().contains("check: told to fail"), "{report}");
        assert!(error.contains("does not take it") && error.contains("is again what it was"), "{error}");
        assert_eq!((&report["before"], &report["after"]["name"]), (&report["after"], &json!("lockdown")));
        // Disk and memory agree, and the one before is still the last good other one.
        assert_eq!((content(&site.policy()), content(&site.previous())), (component(LOCKDOWN), component(AUTH_CORE)));
        assert_eq!(site.gate.status().await["policy"]["name"], "lockdown");
    }
    site.assert_tidy();
    assert_eq!(site.operator.rollback().await.1["after"]["name"], "auth-core");
    site.gate.stop().await;
}

/// Somebody copied a bad file over the good one: a swap mends it, and does not keep it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_that_lies_there_is_no_previous_one() {
    let site = Site::start().await;
    assert_eq!(site.operator.swap(LOCKDOWN).await.0, Some(0));
    site.gate.rename_policy(b"garbage");
    site.gate.until_rejected(1).await;
    let (code, printed, error) = run(&mut site.operator.command(&["rollback"])).await;
    assert!(
        code == Some(0) && printed.contains("after   auth-core, ") && printed.contains("kept    nothing"),
        "{error}"
    );
    assert_eq!((content(&site.policy()), content(&site.previous())), (component(AUTH_CORE), component(AUTH_CORE)));

    // What serves already is put back where it should lie.
    fs::remove_file(site.policy()).unwrap();
    assert_eq!(site.operator.swap(AUTH_CORE).await.1["outcome"], "served-already");
    assert_eq!(content(&site.policy()), component(AUTH_CORE));
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_does_not_run_is_no_reason_to_touch_its_file() {
    let site = Site::start().await;
    let Site { gate, operator } = site;
    let directory = TempDir::new().unwrap();
    let policy = directory.path().join("policy.wasm");
    fs::copy(AUTH_CORE, &policy).unwrap();
    gate.stop().await;
    let mut command = operator.command(&["swap", LOCKDOWN, "--policy", policy.to_str().unwrap()]);
    let (code, printed, error) = run(&mut command).await;
    assert_eq!((code, printed.as_str()), (Some(70), ""), "{error}");
    assert!(error.contains("does not answer") && error.lines().count() == 1, "{error}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    assert_eq!(content(&policy), component(AUTH_CORE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_watches_another_file_is_told_from_one_that_refuses() {
    let site = Site::start().await;
    let elsewhere = TempDir::new().unwrap();
    let file = elsewhere.path().join("policy.wasm");
    let other = Operator::of(&site.gate, file.clone());
    // Another component than the one that serves lies there: this is seen beforehand.
    fs::copy(MISBEHAVING, &file).unwrap();
    let (code, report, error) = other.swap(LOCKDOWN).await;
    assert_eq!((code, report), (Some(64), Value::Null));
    assert!(error.contains("it watches another file"), "{error}");
    assert_eq!(content(&file), component(MISBEHAVING));
    // The same one lies there: this is seen when the gate does not take the new one.
    fs::copy(AUTH_CORE, &file).unwrap();
    let (code, report, error) = told(run(&mut other.command(&["swap", LOCKDOWN, "--json", "--timeout", "1s"])).await);
    assert_eq!((code, &report["outcome"]), (Some(1), &json!("not-seen")));
    assert!(error.contains("may watch another file") && error.contains(&other.admin), "{error}");
    assert_eq!(content(&file), component(AUTH_CORE));
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1, "nothing is left beside {}", other.policy.display());
    assert_eq!(site.gate.status().await["policy"]["generation"], 1);
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_left_to_whoever_made_it() {
    let site = Site::start().await;
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("..2026_11")).unwrap();
    fs::copy(AUTH_CORE, at("..2026_11").join("mounted.wasm")).unwrap();
    symlink("..2026_11", at("..data")).unwrap();
    symlink("..data/mounted.wasm", at("mounted.wasm")).unwrap();
    fs::copy(AUTH_CORE, at("release-1.wasm")).unwrap();
    symlink("release-1.wasm", at("current.wasm")).unwrap();
    for (link, complaint) in [("mounted.wasm", "ConfigMap"), ("current.wasm", "release-1.wasm")] {
        let path = at(link).to_str().unwrap().to_owned();
        let (code, _, error) = run(&mut site.operator.command(&["swap", LOCKDOWN, "--policy", &path])).await;
        assert!(code == Some(64) && error.contains(complaint), "{error}");
        assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink() && content(&at(link)) == component(AUTH_CORE));
    }
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_replaces_a_file_may_be_read_by_the_same_people() {
    let site = Site::start().await;
    fs::set_permissions(site.policy(), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(site.operator.swap(LOCKDOWN).await.0, Some(0));
    for file in [site.policy(), site.previous()] {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640, "{}", file.display());
    }
    site.gate.stop().await;
}

/// Each would take the other's file for the one before.
#[tokio::test(flavor = "multi_thread")]
async fn two_swaps_at_once_do_not_go() {
    let site = Site::start().await;
    let other = fs::File::open(site.gate.directory()).unwrap();
    other.lock().unwrap();
    let (code, _, error) = site.operator.swap(LOCKDOWN).await;
    assert!(code == Some(64) && error.contains("another swap is under way"), "{error}");
    drop(other);
    assert_eq!(site.operator.swap(LOCKDOWN).await.0, Some(0));
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_that_is_watched_there_is_nothing_to_swap() {
    let (code, _, error) = run(mqtt_gate(["swap", AUTH_CORE]).env("MQTT_SIGNATURE_KEY", KEY)).await;
    assert!(code == Some(64) && error.contains("which file does the gate watch?"), "{error}");
}
