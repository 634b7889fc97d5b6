//! `mqtt-gate serve`: the demo, and mistakes, each one line and exit code 64.

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::child::{GateProcess, mqtt_gate, run, write_config};
use crate::support::device::KEY;
use crate::support::within_timeout;

/// Asserts exit code 64 and one line on standard error that contains `expected`. Free ports are used by default.
async fn assert_rejected(arguments: &[&str], key: Option<&str>, expected: &str) {
    let mut command = mqtt_gate(["serve"].iter().chain(arguments).copied());
    for flag in ["--listen", "--admin-listen"] {
        if !arguments.contains(&flag) {
            command.args([flag, "127.0.0.1:0"]);
        }
    }
    key.map(|key| command.env("MQTT_SIGNATURE_KEY", key));
    let (code, printed, error) = run(&mut command).await;
    assert_eq!((code, printed.as_str()), (Some(64), ""), "{arguments:?}: {error}");
    assert!(error.contains(expected) && error.lines().count() == 1, "no {expected:?} in {error}");
    assert!(!error.contains(KEY) && !error.contains("s3cret"), "a key is printed");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_missing_key() {
    assert_rejected(&[], None, "MQTT_SIGNATURE_KEY").await;
    assert_rejected(&[], Some(""), "MQTT_SIGNATURE_KEY").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_published_key() {
    assert_rejected(&[], Some("null"), "published").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_short_key() {
    assert_rejected(&[], Some("short"), "16 bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_address_in_use() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    assert_rejected(&["--listen", &taken], Some(KEY), "--listen").await;
    assert_rejected(&["--admin-listen", &taken], Some(KEY), "--admin-listen").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_missing_policy_file() {
    assert_rejected(&["--policy", "/nowhere/policy.wasm"], Some(KEY), "/nowhere/policy.wasm").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_policy_file_with_garbage() {
    let directory = TempDir::new().unwrap();
    let garbage = directory.path().join("garbage.wasm");
    std::fs::write(&garbage, "garbage").unwrap();
    assert_rejected(&["--policy", garbage.to_str().unwrap()], Some(KEY), "not a component").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_missing_configuration_file() {
    assert_rejected(&["--config", "/nowhere/gate.toml"], Some(KEY), "/nowhere/gate.toml").await;
}

/// As [`assert_rejected`], for the text of a configuration file.
async fn assert_rejects_config(text: &str, expected: &str) {
    let directory = TempDir::new().unwrap();
    let config = write_config(directory.path(), text);
    assert_rejected(&["--config", config.to_str().unwrap()], Some(KEY), expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_unknown_configuration_key() {
    assert_rejects_config("lisen = \"0.0.0.0:1\"", "unknown field `lisen`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_setting_from_an_unset_variable() {
    let text = "[policy.settings]\nsignature-keys = { env = \"MQTT_GATE_NOT_SET\" }";
    assert_rejects_config(text, "MQTT_GATE_NOT_SET").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_setting_from_a_missing_file() {
    let text = "[policy.settings]\nsignature-keys = { file = \"/etc/mqtt-gate-nowhere\" }";
    assert_rejects_config(text, "/etc/mqtt-gate-nowhere").await;
}

/// A secret in place of the path of its file is not repeated.
#[tokio::test(flavor = "multi_thread")]
async fn hides_a_setting_file_that_is_not_a_path() {
    assert_rejects_config("[policy.settings]\nsignature-keys = { file = \"/s3cret+key=\" }", "signature-keys").await;
}

/// A secret in place of the name of its variable is not repeated.
#[tokio::test(flavor = "multi_thread")]
async fn hides_a_setting_variable_that_is_not_a_name() {
    let text = format!("[policy.settings]\nsignature-keys = {{ env = {KEY:?} }}");
    assert_rejects_config(&text, "signature-keys").await;
}

/// Runs the curl line that `serve --demo` prints, as printed or with one character of the password changed.
async fn run_demo_curl(change: impl Fn(&str) -> String, status: &str, body: &str) {
    let mut gate = GateProcess::start(&mut mqtt_gate(["serve", "--demo"])).await;
    let mut printed = BufReader::new(gate.child.stdout.as_mut().unwrap()).lines();
    let curl = within_timeout("a curl line", async {
        loop {
            let line = printed.next_line().await.unwrap().expect("a curl line");
            if let Some(curl) = line.trim().strip_prefix("curl ") {
                return format!("curl -s {curl}");
            }
        }
    });
    let curl = change(&curl.await);
    let output = Command::new("sh").args(["-c", &curl]).kill_on_drop(true).output();
    let output = within_timeout("curl", output).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "install curl: apt-get install curl");
    assert!(text.starts_with(&format!("HTTP/1.1 {status}")) && text.ends_with(body), "{text}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_curl_line_is_allowed_as_printed() {
    run_demo_curl(str::to_owned, "200 OK", r#"{"result":"allow"}"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_curl_line_is_denied_with_one_changed_character() {
    let change = |curl: &str| {
        let at = curl.find(r#""password":""#).unwrap() + r#""password":""#.len();
        let other = if curl[at..].starts_with('A') { "B" } else { "A" };
        format!("{}{other}{}", &curl[..at], &curl[at + 1..])
    };
    run_demo_curl(change, "401 ", r#"{"result":"deny"}"#).await;
}
