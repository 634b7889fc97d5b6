//! The decision log: one line per decision, no secrets, and no login waits for it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::child::{GateProcess, write_config};
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get, post_json};
use crate::support::{poll_until, within_timeout};

/// Writes a configuration with this `[decision_log]` table.
pub(super) fn decision_log_config(directory: &Path, table: &str) -> PathBuf {
    write_config(directory, &format!("limits.policy_timeout = \"20s\"\n[decision_log]\n{table}\n"))
}

async fn gate(directory: &Path, table: &str) -> GateProcess {
    GateProcess::start_config(&decision_log_config(directory, table)).await
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// Waits until the files have this many lines together. A gate that stops waits for the disk for a short time only.
async fn wait_for_lines(count: usize, files: &[&Path]) {
    let lines = || files.iter().flat_map(fs::read).flatten().filter(|byte| *byte == b'\n').count();
    poll_until(&format!("{count} lines are written"), async || (lines() >= count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_each_decision_without_secrets() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("decisions.log");
    let gate = gate(directory.path(), &format!("file = {file:?}")).await;
    let valid = Device::valid();
    let forged = Device { password: "password-s3cret".into(), ..valid.clone() };
    let long_id = Device { client_id: "ev\nil\u{1b}".repeat(1_000), ..valid.clone() };
    let mut connection = Connection::open(gate.auth).await;
    for (device, status) in [(&valid, 200), (&forged, 401), (&long_id, 401)] {
        assert_eq!(connection.request(&device.request()).await.status, status);
    }
    let action = json!({ "clientid": valid.client_id, "topic": "t", "action": "publish" });
    connection.request(&post_json("/emqx/acl", &action)).await;
    wait_for_lines(4, &[&file]).await;
    gate.stop().await;
    let text = fs::read_to_string(&file).unwrap();
    for secret in [KEY, &valid.password, &valid.username, &forged.password] {
        assert!(!text.contains(secret), "a secret is in the decision log");
    }
    let lines = lines(&file);
    let decisions: Vec<_> =
        lines.iter().map(|line| json!([line["operation"], line["verdict"], line["reason"]])).collect();
    assert_eq!(
        decisions,
        [
            json!(["authenticate", "allow", null]),
            json!(["authenticate", "deny", "bad-user-name-or-password"]),
            json!(["authenticate", "deny", "client-identifier-not-valid"]),
            json!(["authorize", "ignore", null]),
        ]
    );
    assert_eq!((&lines[0]["client_id"], &lines[0]["route"]), (&json!(valid.client_id), &json!("/mqtt/auth")));
    assert!(lines[2]["client_id"].as_str().unwrap().chars().count() <= 513, "a long client id is truncated");
    assert!(lines.iter().all(|line| line["generation"] == 1 && line["duration_us"].as_f64() > Some(0.0)));
    assert!(lines.iter().all(|line| line["policy"].as_str().unwrap().len() == 64));
}

/// Logs one denial of a client before and after a restart. Returns how the client id is shown, the same way in both.
async fn shown_client_id(mode: &str) -> String {
    let directory = TempDir::new().unwrap();
    let (file, salt) = (directory.path().join("decisions.log"), directory.path().join("salt"));
    fs::write(&salt, "a salt that stays").unwrap();
    let table = format!("file = {file:?}\nclient_id = {mode:?}\nsalt_file = {salt:?}\nrecord = \"denied\"");
    for count in 1..=2 {
        let gate = gate(directory.path(), &table).await;
        let mut connection = Connection::open(gate.auth).await;
        assert_eq!(connection.request(&Device::valid().request()).await.status, 200);
        assert_eq!(connection.request(&Device::unsigned("a client of many letters").request()).await.status, 401);
        wait_for_lines(count, &[&file]).await;
        gate.stop().await;
    }
    let lines = lines(&file);
    let [first, second] = &lines[..] else { panic!("one line per denial: {lines:?}") };
    assert_eq!(first["client_id"], second["client_id"], "the client id changes with a restart");
    first["client_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn hashed_client_ids_are_stable_across_restarts() {
    let shown = shown_client_id("hashed").await;
    assert!(shown.len() == 32 && !shown.contains("client"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_client_ids_show_their_beginning() {
    assert_eq!(shown_client_id("truncated").await, "a client…");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reopens_the_file_without_losing_lines() {
    let directory = TempDir::new().unwrap();
    let (file, moved) = (directory.path().join("decisions.log"), directory.path().join("decisions.log.1"));
    let gate = gate(directory.path(), &format!("file = {file:?}")).await;
    let mut connection = Connection::open(gate.auth).await;
    connection.request(&Device::valid().request()).await;
    wait_for_lines(1, &[&file]).await;
    fs::rename(&file, &moved).unwrap();
    gate.signal("HUP");
    let mut requests = 1;
    poll_until("the file is reopened", async || {
        connection.request(&Device::valid().request()).await;
        requests += 1;
        file.exists().then_some(())
    })
    .await;
    wait_for_lines(requests, &[&moved, &file]).await;
    gate.stop().await;
    let (before, after) = (lines(&moved), lines(&file));
    assert!(!before.is_empty());
    let ids: Vec<u64> = before.iter().chain(&after).map(|line| line["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "no line is lost between the files");
}

/// Standard output is a pipe without a reader.
#[tokio::test(flavor = "multi_thread")]
async fn unread_output_does_not_block_logins_and_gaps_are_recorded() {
    const LOGINS: usize = 30_000;
    let directory = TempDir::new().unwrap();
    let mut gate = gate(directory.path(), "file = \"-\"").await;
    let mut connection = Connection::open(gate.auth).await;
    let burst = Device::valid().request().repeat(100);
    for _ in 0..LOGINS / 100 {
        connection.send(&burst).await;
        for _ in 0..100 {
            assert_eq!(connection.response().await.status, 200);
        }
    }
    let metrics = Connection::open(gate.admin).await.request(&get("/metrics")).await;
    let counter = "mqtt_gate_decision_log_dropped_total ";
    let dropped = metrics.text().lines().find_map(|line| line.strip_prefix(counter)).unwrap();
    let dropped: usize = dropped.parse().unwrap();
    assert!(dropped > 0 && dropped < LOGINS, "{dropped}");
    let mut lines = BufReader::new(gate.child.stdout.take().unwrap()).lines();
    let (mut missing, mut written) = (0, 0);
    while missing + written < LOGINS {
        let line =
            within_timeout("a line", lines.next_line()).await.unwrap().expect("a line for every decision or gap");
        let line: Value = serde_json::from_str(&line).unwrap();
        missing += line["dropped"].as_u64().unwrap_or_default() as usize;
        written += usize::from(line["id"].is_u64());
    }
    assert_eq!((missing, written), (dropped, LOGINS - dropped));
    gate.terminate();
    let exit = within_timeout("the gate to exit", gate.child.wait()).await.unwrap();
    assert_eq!(exit.code(), Some(0));
    assert_eq!(lines.next_line().await.unwrap(), None);
}
