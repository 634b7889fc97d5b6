//! The decision log: a line for each answer, nothing in it that is secret, and nobody waits for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{sleep, timeout};

use crate::support::child::{PATIENCE, Running, mqtt_gate, run};
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get, post_json};

/// How often to look.
const POLL: Duration = Duration::from_millis(5);

/// A gate with this under `[decisions]`.
async fn gate(directory: &Path, decisions: &str) -> Running {
    let config = config(directory, decisions);
    let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap()]);
    Running::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await
}

fn config(directory: &Path, decisions: &str) -> PathBuf {
    let path = directory.join("gate.toml");
    fs::write(&path, format!("limits.deadline = \"20s\"\n[decisions]\n{decisions}\n")).unwrap();
    path
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// Waits until these files have so many lines: a gate that stops does not wait long for a disk.
async fn until_lines(count: usize, files: &[&Path]) {
    let lines = || files.iter().flat_map(fs::read).flatten().filter(|byte| *byte == b'\n').count();
    let written = async {
        while lines() < count {
            sleep(POLL).await;
        }
    };
    timeout(PATIENCE, written).await.unwrap_or_else(|_| panic!("{} lines, and not {count}", lines()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_has_its_line_and_no_line_a_secret() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("decisions.log");
    let running = gate(directory.path(), &format!("file = {file:?}")).await;
    let genuine = Device::genuine();
    let forged = Device { password: "password-s3cret".into(), ..genuine.clone() };
    let odd = Device { client_id: "ev\nil\u{1b}".repeat(1_000), ..genuine.clone() };
    let mut connection = Connection::open(running.logins).await;
    for (device, status) in [(&genuine, 200), (&forged, 401), (&odd, 401)] {
        assert_eq!(connection.ask(&device.request()).await.status, status);
    }
    let action = serde_json::json!({ "clientid": genuine.client_id, "topic": "t", "action": "publish" });
    connection.ask(&post_json("/emqx/acl", &action)).await;
    until_lines(4, &[&file]).await;
    running.terminate();
    running.end().await;
    let text = fs::read_to_string(&file).unwrap();
    for secret in [KEY, &genuine.password, &genuine.username, &forged.password] {
        assert!(!text.contains(secret), "a secret is in the decision log");
    }
    let lines = lines(&file);
    let told: Vec<_> = lines.iter().map(|line| (&line["asked"], &line["verdict"], &line["reason"])).collect();
    let (login, bad, id) = ("login".into(), "bad-user-name-or-password".into(), "client-identifier-not-valid".into());
    assert_eq!(
        told,
        [
            (&login, &"allow".into(), &Value::Null),
            (&login, &"deny".into(), &bad),
            (&login, &"deny".into(), &id),
            (&"action".into(), &"ignore".into(), &Value::Null),
        ]
    );
    assert_eq!((&lines[0]["client_id"], &lines[0]["route"]), (&genuine.client_id.clone().into(), &"/mqtt/auth".into()));
    assert!(lines[2]["client_id"].as_str().unwrap().chars().count() <= 513);
    assert!(lines.iter().all(|line| line["generation"] == 1 && line["took_us"].as_f64() > Some(0.0)));
    assert!(lines.iter().all(|line| line["policy"].as_str().unwrap().len() == 64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_can_be_followed_and_not_named() {
    let mut seen = Vec::new();
    for client_id in ["hashed", "cut"] {
        let directory = TempDir::new().unwrap();
        let (file, salt) = (directory.path().join("decisions.log"), directory.path().join("salt"));
        fs::write(&salt, "a salt that stays").unwrap();
        let decisions = format!("file = {file:?}\nclient_id = {client_id:?}\nsalt_file = {salt:?}\nwhat = \"refused\"");
        for count in 1..=2 {
            let running = gate(directory.path(), &decisions).await;
            let mut connection = Connection::open(running.logins).await;
            assert_eq!(connection.ask(&Device::genuine().request()).await.status, 200);
            assert_eq!(connection.ask(&Device::named("a client of many letters").request()).await.status, 401);
            until_lines(count, &[&file]).await;
            running.terminate();
            running.end().await;
        }
        let lines = lines(&file);
        let [first, second] = &lines[..] else { panic!("a line for each refusal: {lines:?}") };
        assert_eq!(first["client_id"], second["client_id"], "the same client looks the same after a restart");
        seen.push(first["client_id"].as_str().unwrap().to_owned());
    }
    assert_eq!((seen[0].len(), seen[1].as_str()), (32, "a client…"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_moved_away_is_begun_anew_at_a_hangup() {
    let directory = TempDir::new().unwrap();
    let (file, moved) = (directory.path().join("decisions.log"), directory.path().join("decisions.log.1"));
    let running = gate(directory.path(), &format!("file = {file:?}")).await;
    let mut connection = Connection::open(running.logins).await;
    connection.ask(&Device::genuine().request()).await;
    fs::rename(&file, &moved).unwrap();
    running.signal("HUP");
    // The signal takes its time.
    let mut asked = 1;
    let begun_anew = async {
        while !file.exists() {
            connection.ask(&Device::genuine().request()).await;
            asked += 1;
            sleep(POLL).await;
        }
    };
    timeout(PATIENCE, begun_anew).await.expect("a new file");
    until_lines(asked, &[&moved, &file]).await;
    running.terminate();
    running.end().await;
    let (before, after) = (lines(&moved), lines(&file));
    assert!(!before.is_empty() && !after.is_empty());
    let ids: Vec<u64> = before.iter().chain(&after).map(|line| line["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "no line is lost in between");
}

/// Nobody reads what the program prints.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_takes_holds_up_nobody_and_says_what_it_lacks() {
    const LOGINS: usize = 30_000;
    let directory = TempDir::new().unwrap();
    let mut running = gate(directory.path(), "file = \"-\"").await;
    let mut connection = Connection::open(running.logins).await;
    let burst = Device::genuine().request().repeat(100);
    for _ in 0..LOGINS / 100 {
        connection.send(&burst).await;
        for _ in 0..100 {
            assert_eq!(connection.answer().await.status, 200);
        }
    }
    let told = Connection::open(running.admin).await.ask(&get("/metrics")).await;
    let lost = told.text().lines().find_map(|line| line.strip_prefix("mqtt_gate_decisions_lost_total ")).unwrap();
    let lost: usize = lost.parse().unwrap();
    assert!(lost > 0 && lost < LOGINS, "{lost}");
    let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
    let (mut lacking, mut written) = (0, 0);
    while lacking + written < LOGINS {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("a line").unwrap().expect("all lines");
        let line: Value = serde_json::from_str(&line).unwrap();
        lacking += line["lost"].as_u64().unwrap_or_default() as usize;
        written += usize::from(line["id"].is_u64());
    }
    assert_eq!((lacking, written), (lost, LOGINS - lost));
    running.terminate();
    assert_eq!(timeout(PATIENCE, running.child.wait()).await.unwrap().unwrap().code(), Some(0));
    assert_eq!(lines.next_line().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_log_that_cannot_be_is_an_operators_mistake() {
    let directory = TempDir::new().unwrap();
    let (pipe, empty) = (directory.path().join("pipe"), directory.path().join("empty"));
    fs::write(&empty, "").unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (decisions, complaint) in [
        ("file = \"/nowhere/decisions.log\"".to_owned(), "/nowhere/decisions.log"),
        (format!("file = {pipe:?}"), "not a regular file"),
        (
            "file = \"-\"\nclient_id = \"hashed\"\nsalt_file = \"/nowhere/salt\"".to_owned(),
            "decisions.salt_file: cannot read",
        ),
        (format!("file = \"-\"\nclient_id = \"hashed\"\nsalt_file = {empty:?}"), "shorter than 16 bytes"),
        ("file = \"-\"\nclient_id = \"hidden\"".to_owned(), "expected one of `plain`"),
    ] {
        let config = config(directory.path(), &decisions);
        let arguments =
            ["serve", "--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let (code, _, log) = run(mqtt_gate(arguments).env("MQTT_SIGNATURE_KEY", KEY)).await;
        let last = log.lines().last().unwrap();
        assert!(code == Some(64) && last.starts_with("mqtt-gate: ") && last.contains(complaint), "{log}");
    }
}
