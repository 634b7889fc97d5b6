//! The caches of EMQX: after a swap, no device is judged by the policy before.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::child::{mqtt_gate, run, write_config};
use crate::support::cli_fixture::{SwapFixture, run_json};
use crate::support::device::{Device, KEY};
use crate::support::emqx_model::{API_SECRET, EmqxModel, Version};
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN};

const RESETS: [&str; 3] = ["reset authentication", "reset authorization", "reset sessions"];

/// A topic that the default policy of [`gate_for`] grants.
const TOPIC: &str = "up/AA_BB_CC_DD_EE_FF";

async fn gate_for(emqx: &EmqxModel) -> Gate {
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.broker = vec![emqx.config()];
        config.policy.first.settings.set("publish-topics", "up/{mac}".to_owned());
        // The repetition of a reset waits for this time.
        config.limits.policy_timeout = std::time::Duration::from_secs(60);
    })
    .await;
    wait_until_reset(&gate, 1).await;
    emqx.take_calls();
    gate
}

/// Waits until the caches are reset for this generation.
async fn wait_until_reset(gate: &Gate, generation: u64) -> Value {
    let is_reset = |status: &Value| {
        let caches = &status["broker_caches"][0];
        caches["generation"] == generation && caches["is_current"] == true
    };
    gate.wait_until("the caches are reset", is_reset).await
}

/// Asserts that all caches were reset, in the order that matters: one alone leaves the old answer. A test that takes longer
/// than a minute sees the repetition too.
fn assert_resets(calls: &[String]) {
    assert!(!calls.is_empty() && calls.chunks(RESETS.len()).all(|calls| calls == RESETS), "{calls:?}");
}

/// One metric of the gate, with its labels in alphabetical order of the exposition.
async fn metric(gate: &Gate, line: &str) -> Option<u64> {
    let metrics = Connection::open(gate.admin).await.request(&get("/metrics")).await;
    metrics.text().lines().find_map(|text| text.strip_prefix(line)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lockdown_reaches_a_device_that_logged_in_just_before() {
    let emqx = EmqxModel::start(Version::V6_2).await;
    let gate = gate_for(&emqx).await;
    let device = Device::valid();
    assert!(emqx.connect(gate.auth, &device).await && emqx.publish(gate.auth, &device, TOPIC).await);
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    wait_until_reset(&gate, 2).await;
    assert_resets(&emqx.take_calls());
    assert!(!emqx.connect(gate.auth, &device).await && !emqx.publish(gate.auth, &device, TOPIC).await);
    gate.rename_policy(&fs::read(AUTH_CORE).unwrap());
    wait_until_reset(&gate, 3).await;
    assert!(emqx.connect(gate.auth, &device).await, "a device that was denied need not wait for a minute either");
    gate.stop().await;
}

/// The model is a model: without a reset it answers from its caches, as EMQX 6.2 does.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_a_lockdown_does_not_reach_that_device() {
    let emqx = EmqxModel::start(Version::V6_2).await;
    let gate = Gate::start(AUTH_CORE).await;
    assert!(emqx.connect(gate.auth, &Device::valid()).await);
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    gate.wait_until("the lockdown is active", |status| status["policy"]["generation"] == 2).await;
    assert!(emqx.connect(gate.auth, &Device::valid()).await);
    assert_eq!(gate.status().await["broker_caches"], json!([]));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emqx_without_node_caches_has_its_session_caches_reset() {
    let emqx = EmqxModel::start(Version::V5_8).await;
    let gate = gate_for(&emqx).await;
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    let status = wait_until_reset(&gate, 2).await;
    let calls = emqx.take_calls();
    assert!(!calls.is_empty() && calls.iter().all(|call| call == "reset sessions"), "{calls:?}");
    assert_eq!(status["broker_caches"][0]["enabled"], json!([]));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_caches_that_are_on_are_shown() {
    let emqx = EmqxModel::start(Version::V6_2).await;
    let gate = gate_for(&emqx).await;
    let enabled = json!(["authentication", "authorization"]);
    gate.wait_until("the gate knows the caches", |status| status["broker_caches"][0]["enabled"] == enabled).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_fails_is_shown_and_retried() {
    let emqx = EmqxModel::start(Version::V6_2).await;
    let gate = gate_for(&emqx).await;
    emqx.fail_with(Some(StatusCode::SERVICE_UNAVAILABLE));
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    let is_failing = |status: &Value| status["broker_caches"][0]["error"]["reason"].is_string();
    let status = gate.wait_until("a reset fails", is_failing).await;
    let reason = status["broker_caches"][0]["error"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("it responded with status 503; "), "{reason}");
    let api = format!("{{api=\"http://{}\"", emqx.api);
    assert_eq!(metric(&gate, &format!("mqtt_gate_broker_caches_stale{api}}}")).await, Some(1));
    let failures = metric(&gate, &format!("mqtt_gate_broker_cache_resets_total{api},result=\"failure\"}}")).await;
    assert!(failures >= Some(1), "{failures:?}");
    emqx.fail_with(None);
    let status = wait_until_reset(&gate, 2).await;
    assert_eq!(status["broker_caches"][0]["error"], Value::Null);
    assert_eq!(metric(&gate, &format!("mqtt_gate_broker_caches_stale{api}}}")).await, Some(0));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_api_key_is_named_and_not_shown() {
    let emqx = EmqxModel::start(Version::V6_2).await;
    let mut broker = emqx.config();
    broker.api_secret = Some(mqtt_gate_engine::SecretSource::inline("another-s3cret".to_owned()));
    let gate = Gate::start_with(AUTH_CORE, |config| config.broker = vec![broker]).await;
    let is_failing = |status: &Value| status["broker_caches"][0]["error"]["reason"].is_string();
    let status = gate.wait_until("a reset fails", is_failing).await;
    let expected = "it rejects the API key; check broker.api_key and broker.api_secret";
    assert_eq!(status["broker_caches"][0]["error"]["reason"], expected);
    assert!(!status.to_string().contains("s3cret"));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swap_waits_for_the_caches_and_says_so() {
    let emqx = EmqxModel::start(Version::V6_2).await;
    let site = SwapFixture::start_with(|config| config.broker = vec![emqx.config()]).await;
    let (code, printed, error) = run(&mut site.cli.command(&["swap", LOCKDOWN])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let row = format!("brokers   caches of http://{} reset", emqx.api);
    assert!(printed.lines().any(|line| line == row), "{printed}");
    assert_eq!(site.gate.status().await["broker_caches"][0]["is_current"], true);
    emqx.fail_with(Some(StatusCode::INTERNAL_SERVER_ERROR));
    let (code, report, error) = run_json(&mut site.cli.command(&["rollback", "--json", "--timeout", "1s"])).await;
    assert_eq!((code, &report["outcome"]), (Some(70), &json!("activated")));
    assert!(error.contains("the policy is active, but the caches of http://127.0.0.1:"), "{error}");
    site.gate.stop().await;
}

/// `mqtt-gate kick` with a configuration that names the model.
fn kick(directory: &TempDir, arguments: &[&str]) -> Command {
    let mut command = mqtt_gate(["kick"].iter().chain(arguments).copied());
    command.arg("--config").arg(directory.path().join("gate.toml"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kicked_device_is_out_and_a_banned_one_stays_out() {
    let emqx = EmqxModel::start(Version::V6_2).await;
    let gate = Gate::start(AUTH_CORE).await;
    let directory = TempDir::new().unwrap();
    write_config(directory.path(), &emqx.config_text());
    let device = Device::valid();
    assert!(emqx.connect(gate.auth, &device).await);
    let (code, printed, error) = run(&mut kick(&directory, &[&device.client_id, "a/b?c"])).await;
    let id = &device.client_id;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(printed, format!("{id}: disconnected\na/b?c: was not connected\n"));
    let expected = RESETS.map(str::to_owned).into_iter().chain([format!("kick {id}")]).collect::<Vec<_>>();
    assert_eq!(emqx.take_calls(), expected, "the caches first: EMQX would let the device back in");
    assert!(emqx.connected().is_empty());

    assert!(emqx.connect(gate.auth, &device).await);
    let (code, report, error) = run_json(&mut kick(&directory, &[id, "--ban", "10m", "--json"])).await;
    assert_eq!((code, error.as_str(), &report["client_id"]), (Some(0), "", &json!(id)));
    let until = humantime::parse_rfc3339(report["banned_until"].as_str().unwrap()).unwrap();
    assert!(until > SystemTime::now() && emqx.banned()[id]["until"] == report["banned_until"]);
    assert!(!emqx.connect(gate.auth, &device).await && emqx.connected().is_empty());

    let (code, printed, error) = run(&mut kick(&directory, &[id, "--ban", "1s"])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(printed, format!("{id}: was not connected, was banned before, and that ban stays\n"));
    assert_eq!(emqx.banned()[id]["until"], report["banned_until"], "a ban is not shortened");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_that_cannot_work_says_why() {
    let emqx = EmqxModel::start(Version::V6_2).await;
    let directory = TempDir::new().unwrap();
    write_config(directory.path(), "");
    let (code, _, error) = run(&mut kick(&directory, &["c"])).await;
    assert_eq!(code, Some(64));
    assert!(error.contains("no [[broker]] of the configuration has an api; "), "{error}");
    write_config(directory.path(), &emqx.config_text());
    let (code, _, error) = run(&mut kick(&directory, &["c", "--ban", "31days"])).await;
    assert_eq!(code, Some(64));
    assert!(error.contains("--ban: must be from 1s to 30days"), "{error}");
    for (status, reason) in [
        (StatusCode::FORBIDDEN, "the API key lacks a permission"),
        (StatusCode::BAD_GATEWAY, "it responded with status 502"),
    ] {
        emqx.fail_with(Some(status));
        let (code, _, error) = run(&mut kick(&directory, &["c"])).await;
        assert_eq!(code, Some(70));
        assert!(error.contains("cannot reset the caches: ") && error.contains(reason), "{error}");
        assert!(!error.contains(API_SECRET) && error.lines().count() == 1);
    }
}

/// `mqtt-gate check` of the default policy with this configuration, and a service manager that reports these properties.
async fn check(text: &str, service: &str) -> (Option<i32>, String, String) {
    let directory = TempDir::new().unwrap();
    let config = write_config(directory.path(), text);
    let systemctl = directory.path().join("systemctl");
    fs::write(&systemctl, format!("#!/bin/sh\nprintf '{service}'\n")).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let mut command = mqtt_gate(["check", AUTH_CORE, "--config", config.to_str().unwrap()]);
    run(command.env("MQTT_SIGNATURE_KEY", KEY).env("PATH", path)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn check_calls_the_api_and_names_what_blocks_it() {
    let emqx = EmqxModel::start(Version::V6_2).await;
    let api = format!("http://{}", emqx.api);
    let sandboxed = "LoadState=loaded\\nPrivateNetwork=yes\\nRestrictAddressFamilies=AF_UNIX\\n";
    let (code, printed, error) = check(&emqx.config_text(), sandboxed).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for line in [
        format!("broker {api}: reachable"),
        format!("warning: broker {api}: mqtt-gate.service cannot reach it: it has PrivateNetwork=yes; "),
        format!("warning: broker {api}: node cache is on for authentication and authorization; "),
    ] {
        assert!(printed.lines().any(|printed| printed.starts_with(&line)), "{printed}");
    }
    emqx.fail_with(Some(StatusCode::UNAUTHORIZED));
    let (code, printed, error) = check(&emqx.config_text(), "LoadState=not-found\\n").await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let expected = format!("warning: broker {api}: it rejects the API key; check broker.api_key and broker.api_secret");
    let is_about_brokers = |line: &&str| line.starts_with("broker ") || line.starts_with("warning: ");
    assert_eq!(printed.lines().filter(is_about_brokers).collect::<Vec<_>>(), [expected]);
    assert!(!printed.contains(API_SECRET));
}
