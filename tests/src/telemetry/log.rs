//! The log: denials and rejected policies with their fields, and never a secret.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::child::{GateProcess, mqtt_gate, serve_command, write_config};
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get, post_json};
use crate::support::in_process::{AUTH_CORE, MISBEHAVING};
use crate::support::{poll_until, within_timeout};

#[tokio::test(flavor = "multi_thread")]
async fn log_reports_denials_and_rejected_policies_without_secrets() {
    let directory = TempDir::new().unwrap();
    let policy = directory.path().join("policy.wasm");
    fs::copy(AUTH_CORE, &policy).unwrap();
    let mut command = mqtt_gate(["serve", "--policy", policy.to_str().unwrap(), "--log-level", "trace"]);
    let gate = GateProcess::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await;
    let valid = Device::valid();
    let mut forged = Device::unsigned("evil\n\u{1b}[31m{\"level\":\"INFO\"}");
    (forged.username, forged.password) = ("dXNlci1zM2NyZXQ=".into(), "password-s3cret".into());
    let mut connection = Connection::open(gate.auth).await;
    assert_eq!(connection.request(&valid.request()).await.status, 200);
    assert_eq!(connection.request(&forged.request()).await.status, 401);
    fs::write(&policy, "garbage").unwrap();
    let mut admin = Connection::open(gate.admin).await;
    let is_rejected = async || {
        let status = admin.request(&get("/status")).await.json();
        (status["rejected"]["count"] != 0).then_some(())
    };
    poll_until("the policy is rejected", is_rejected).await;
    gate.terminate();
    let (_, printed, log) = gate.wait_exit().await;

    for secret in [KEY, &valid.password, &valid.username, &forged.username, &forged.password] {
        assert!(!log.contains(secret) && !printed.contains(secret), "a secret is in the log");
    }
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    let denials: Vec<&Value> = lines.iter().filter(|line| line["message"] == "denied").collect();
    let [denied] = denials[..] else { panic!("one line for one denial: {log}") };
    assert_eq!(denied["client_id"], "evil\\n\\u{1b}[31m{\\\"level\\\":\\\"INFO\\\"}");
    assert_eq!((&denied["reason"], &denied["route"]), (&json!("client-identifier-not-valid"), &json!("/mqtt/auth")));
    assert_eq!(denied["policy"].as_str().unwrap().len(), 64);
    let rejected = lines.iter().find(|line| line["message"].as_str().unwrap().starts_with("policy rejected")).unwrap();
    assert_eq!(rejected["active"], denied["policy"]);
    assert_ne!(rejected["candidate"], denied["policy"]);
}

/// The policy of this test fails with everything that it can see.
#[tokio::test(flavor = "multi_thread")]
async fn log_redacts_secrets_in_the_errors_of_a_policy() {
    let mut command = mqtt_gate(["serve", "--policy", MISBEHAVING]);
    let gate = GateProcess::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await;
    let mut device = Device::triggering("tell me all");
    device.password = "password-s3cret".into();
    // A broker can send further fields, whose names its operator chooses.
    let mut body = device.body();
    body["p"] = "another s3cret".into();
    let request = post_json("/mqtt/auth", &body);
    assert_eq!(Connection::open(gate.auth).await.request(&request).await.status, 503);
    let log = gate.stop().await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    let error = lines.iter().find(|line| line["message"] == "error").expect("the error is logged");
    assert_eq!(error["reason"], "no-verdict");
    assert_eq!(error["error"], "the policy returned an error");
    assert!(!log.contains(KEY) && !log.contains("s3cret") && !log.contains("tell me all"), "a secret is in the log");
}

/// A policy may keep what a client sent, and repeat it in the call of another client.
#[tokio::test(flavor = "multi_thread")]
async fn log_does_not_show_what_a_policy_remembers_of_another_client() {
    let directory = TempDir::new().unwrap();
    let config = write_config(directory.path(), &format!("workers = 1\npolicy.file = {MISBEHAVING:?}"));
    let gate = GateProcess::start_config(&config).await;
    let mut connection = Connection::open(gate.auth).await;
    let first = Device { password: "password-s3cret".into(), ..Device::triggering("remember") };
    assert_eq!(connection.request(&first.request()).await.status, 200);
    let second = Device::triggering("tell what you remember");
    assert_eq!(connection.request(&second.request()).await.status, 503);
    let log = gate.stop().await;
    assert!(log.contains("no-verdict") && !log.contains("s3cret"), "a secret is in the log");
}

async fn assert_warns_of_an_insecure_key(calls_per_instance: u32) {
    let directory = TempDir::new().unwrap();
    let text = format!(
        "policy.settings = {{ signature-keys = \"null\", allow-insecure-key = \"true\" }}\n\
         limits.max_calls_per_instance = {calls_per_instance}"
    );
    let config = write_config(directory.path(), &text);
    let mut child = serve_command(&config)
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let is_warned = within_timeout("the gate to serve", async {
        let mut is_warned = false;
        loop {
            let line = log.next_line().await.unwrap().expect("the gate serves");
            is_warned |= line.contains("\"WARN\"") && line.contains("allow-insecure-key");
            if line.contains("\"serving\"") {
                return is_warned;
            }
        }
    });
    assert!(is_warned.await);
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_an_insecure_key_with_an_instance_per_call() {
    assert_warns_of_an_insecure_key(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_an_insecure_key_with_reused_instances() {
    assert_warns_of_an_insecure_key(1000).await;
}
