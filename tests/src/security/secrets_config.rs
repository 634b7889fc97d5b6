//! Mistakes in the `[access]` table: exit code 64, one line that names the key, and never the secret.

use tempfile::TempDir;

use crate::support::child::{run_rejected, serve_command, write_config};

/// Asserts exit code 64 and one line on standard error that contains all of `expected` and not the value.
async fn assert_rejected(access: &str, expected: &[&str]) {
    let directory = TempDir::new().unwrap();
    let config = write_config(directory.path(), &format!("[access]\n{access}"));
    let (code, error) = run_rejected(&mut serve_command(&config)).await;
    assert_eq!(code, Some(64), "{error}");
    for text in expected {
        assert!(error.contains(text), "no {text:?} in {error}");
    }
    assert!(error.lines().count() == 1 && !error.contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_empty_secret() {
    assert_rejected("broker_secret = \"\"", &["access.broker_secret", "empty"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_short_secret() {
    assert_rejected("broker_secret = \"s3cret\"", &["access.broker_secret", "16"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_secret_from_an_unset_variable() {
    assert_rejected("admin_token = { env = \"MQTT_GATE_NOT_SET\" }", &["MQTT_GATE_NOT_SET"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_secret_from_a_missing_file() {
    let access = "admin_token = { file = \"/etc/mqtt-gate-nowhere\" }";
    assert_rejected(access, &["access.admin_token", "/etc/mqtt-gate-nowhere"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_secret_that_is_not_a_string() {
    assert_rejected("admin_token = 5.3", &["gate.toml:2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_unknown_keys_of_the_access_table() {
    assert_rejected("admin_tokn = \"s3cret\"", &["unknown field `admin_tokn`"]).await;
}
