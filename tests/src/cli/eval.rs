//! `mqtt-gate eval`: evaluates one login by a policy, as a gate would.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::inspect::sha256;
use crate::support::child::{mqtt_gate, run, run_with_stdin, write_config};
use crate::support::cli_fixture::json_line;
use crate::support::device::{Device, KEY, USERNAME};
use crate::support::in_process::{AUTH_CORE, MISBEHAVING};

/// A configuration that grants topics and a session of one hour, in a directory.
fn config() -> (TempDir, String) {
    let directory = TempDir::new().unwrap();
    let keys = json!([{ "id": "2026-11", "key": KEY }]);
    let text = format!(
        "[policy.settings]\npublish-topics = 'devices/{{mac}}/up/#'\nsession-seconds = '3600'\n\
         signature-keys = '''{keys}'''"
    );
    let config = write_config(directory.path(), &text).to_str().unwrap().to_owned();
    (directory, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_the_verdict_the_grant_and_the_policy() {
    let (_directory, config) = config();
    let arguments = ["eval", AUTH_CORE, "--config", &config, "--json"];
    let login = Device::valid().body().to_string();
    let (code, printed, error) = run_with_stdin(&mut mqtt_gate(arguments), login.as_bytes()).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let report = json_line(&printed);
    assert_eq!((&report["verdict"], &report["grant"]["access"]), (&json!("allow"), &json!("only")));
    assert_eq!(report["grant"]["publish"], json!(["devices/AA_BB_CC_DD_EE_FF/up/#"]));
    assert_eq!(report["grant"]["key_id"], "2026-11");
    assert!(report["grant"]["expires_at"].as_u64() > Some(1_700_000_000), "{report}");
    assert!(report["duration_us"]["second"].as_f64() > Some(0.0), "{report}");
    assert_eq!(report["policy"], json!({ "name": "auth-core", "sha256": sha256(AUTH_CORE) }));
}

/// `eval` with the login of a valid device in flags, and its password in a file.
fn eval_flags(config: &str, password_file: &str) -> Command {
    let device = Device::valid();
    let mut command = mqtt_gate(["eval", AUTH_CORE, "--config", config, "--client-id", &device.client_id]);
    command.args(["--username", USERNAME, "--peer-host", "10.0.0.1", "--attribute", "listener=tls"]);
    command.args(["--password-file", password_file]);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_describe_a_login() {
    let (directory, config) = config();
    let password = directory.path().join("password");
    fs::write(&password, format!("{}\n", Device::valid().password)).unwrap();
    let (code, printed, _) = run(&mut eval_flags(&config, password.to_str().unwrap())).await;
    assert_eq!(code, Some(0));
    assert!(printed.contains("devices/AA_BB_CC_DD_EE_FF/up/#\n") && printed.contains("2026-11\n"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn denial_exits_1_with_the_reason_and_without_the_password() {
    let (_directory, config) = config();
    let (code, printed, error) = run_with_stdin(&mut eval_flags(&config, "-"), b"password-s3cret").await;
    assert_eq!((code, error.as_str()), (Some(1), ""));
    assert!(printed.starts_with("deny: bad-user-name-or-password\n") && !printed.contains("s3cret"), "{printed}");
}

/// Evaluates a login that makes the policy behave in this way. A failed call is exit code 70 and never an allow.
async fn assert_evaluates(behaviour: &str, code: i32, verdict: &str, kind: Option<&str>) {
    let mut device = Device::triggering(behaviour);
    device.password = "password-s3cret".into();
    let mut command = mqtt_gate(["eval", MISBEHAVING, "--json"]);
    let login = device.body().to_string();
    let (exit, printed, error) = run_with_stdin(command.env("MQTT_SIGNATURE_KEY", KEY), login.as_bytes()).await;
    assert_eq!((exit, error.as_str()), (Some(code), ""), "{printed}");
    let report = json_line(&printed);
    assert_eq!((&report["verdict"], report["reason"].as_str()), (&json!(verdict), kind));
    assert_eq!(report["grant"] == Value::Null, code != 0);
    assert!(!printed.contains(KEY) && !printed.contains("s3cret"), "a secret is printed");
}

#[tokio::test(flavor = "multi_thread")]
async fn grant_exits_0() {
    assert_evaluates("attributes", 0, "allow", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ignore_exits_1() {
    assert_evaluates("ignore", 1, "ignore", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_error_exits_70() {
    assert_evaluates("error", 70, "error", Some("no-verdict")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_error_with_secrets_is_redacted() {
    assert_evaluates("tell me all", 70, "error", Some("no-verdict")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_exits_70() {
    assert_evaluates("trap", 70, "error", Some("trap")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loop_exits_70() {
    assert_evaluates("loop", 70, "error", Some("deadline")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_grant_exits_70() {
    assert_evaluates("expired", 70, "error", Some("unsupported-grant")).await;
}

/// Asserts exit code 64 and one line on standard error that contains `expected` and nothing of the input.
async fn assert_rejects_input(input: &str, expected: &str) {
    let mut command = mqtt_gate(["eval", AUTH_CORE]);
    let (code, printed, error) = run_with_stdin(command.env("MQTT_SIGNATURE_KEY", KEY), input.as_bytes()).await;
    assert_eq!((code, printed.as_str()), (Some(64), ""), "{error}");
    assert!(error.contains(expected) && error.lines().count() == 1 && !error.contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_empty_input() {
    assert_rejects_input("", "standard input").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_input_without_a_client_id() {
    assert_rejects_input("{\"username\":\"s3cret\"}", "client_id").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_input_that_is_not_json() {
    assert_rejects_input("s3cret", "not JSON").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_oversized_input() {
    let input = format!(r#"{{"client_id":"{}"}}"#, "x".repeat(70_000));
    assert_rejects_input(&input, "limits.max_body").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_not_accepted_as_arguments() {
    let (code, _, error) = run(&mut mqtt_gate(["eval", "--password", "x"])).await;
    assert!(code == Some(64) && error.contains("--password"), "{error}");
}
