//! Mistakes in the `[decision_log]` table: exit code 64, and the last line names the file or the key.

use std::fs;

use tempfile::TempDir;

use super::decision_log::decision_log_config;
use crate::support::child::{run_rejected, serve_command};

async fn assert_rejected(table: &str, expected: &[&str]) {
    let directory = TempDir::new().unwrap();
    let config = decision_log_config(directory.path(), table);
    let (code, log) = run_rejected(&mut serve_command(&config)).await;
    let last = log.lines().last().unwrap();
    assert!(code == Some(64) && last.starts_with("mqtt-gate: "), "{log}");
    for text in expected {
        assert!(last.contains(text), "no {text:?} in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_file_in_a_missing_directory() {
    assert_rejected("file = \"/nowhere/decisions.log\"", &["/nowhere/decisions.log"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_named_pipe() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_rejected(&format!("file = {pipe:?}"), &["regular file"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_missing_salt_file() {
    let table = "file = \"-\"\nclient_id = \"hashed\"\nsalt_file = \"/nowhere/salt\"";
    assert_rejected(table, &["decision_log.salt_file"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_short_salt() {
    let directory = TempDir::new().unwrap();
    let empty = directory.path().join("empty");
    fs::write(&empty, "").unwrap();
    assert_rejected(&format!("file = \"-\"\nclient_id = \"hashed\"\nsalt_file = {empty:?}"), &["16 bytes"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_unknown_client_id_mode() {
    assert_rejected("file = \"-\"\nclient_id = \"hidden\"", &["expected one of `plain`"]).await;
}
