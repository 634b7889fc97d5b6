//! What `/metrics` tells: all that came of requests, in names that the documentation has, and nothing that a client sent.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::broker::target;
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get, post, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING};

/// What every client sends somewhere.
const MARK: &str = "s3ntByAClient";

async fn metrics(gate: &Gate) -> String {
    let answer = Connection::open(gate.admin).await.ask(&get("/metrics")).await;
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    answer.text().to_owned()
}

/// The value of the one line that begins so.
fn value(metrics: &str, series: &str) -> u64 {
    let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = lines.next().unwrap_or_else(|| panic!("no {series} in {metrics}"));
    assert_eq!(lines.next(), None, "{series} is there twice");
    value.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_came_of_each_question() {
    let ring = format!(r#"[{{"id":"2026-11","key":"{KEY}"}}]"#);
    let gate = Gate::start_with(AUTH_CORE, |config| config.policy.settings.set("signature-keys", ring)).await;
    let genuine = Device::genuine();
    assert_eq!(gate.connect(&genuine).await, 200);
    for client_id in [MARK.to_owned(), genuine.client_id.clone()] {
        assert_eq!(gate.connect(&Device { client_id, password: MARK.into(), ..genuine.clone() }).await, 401);
    }
    gate.ask(&post(&format!("/mqtt/{MARK}"), "text/plain", MARK.as_bytes())).await;
    let unfilled = serde_json::json!({ "clientid": "c", "username": "u", "password": "p", MARK: "${x}" });
    gate.ask(&post_json("/emqx/auth", &unfilled)).await;
    gate.ask(&post_json("/mosquitto/superuser", &serde_json::json!({ "username": MARK }))).await;
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    let is_told = |status: &serde_json::Value| status["history"][0]["generation"] == 2;
    let status = gate.until("the policy is swapped", is_told).await;
    gate.rename_policy(b"garbage");
    gate.until_rejected(1).await;

    let told = metrics(&gate).await;
    assert!(!told.contains(MARK), "{told}");
    let before = &status["history"][1]["sha256"].as_str().unwrap()[..12];
    let login = |verdict: &str, reason: &str, route: &str| {
        let labels = format!("route=\"{route}\",policy=\"{before}\",verdict=\"{verdict}\",reason=\"{reason}\"");
        value(&told, &format!("mqtt_gate_decisions_total{{asked=\"login\",{labels}}}"))
    };
    assert_eq!(login("allow", "", "/mqtt/auth"), 1);
    assert_eq!(login("deny", "client-identifier-not-valid", "/mqtt/auth"), 1);
    assert_eq!(login("deny", "bad-user-name-or-password", "/mqtt/auth"), 1);
    assert_eq!(login("deny", "client-identifier-not-valid", "/emqx/auth"), 1);
    for (series, expected) in [
        (
            "mqtt_gate_decisions_total{asked=\"action\",route=\"/mosquitto/superuser\",policy=\"others\",verdict=\"deny\",reason=\"nobody-may\"}",
            1,
        ),
        ("mqtt_gate_key_logins_total{key=\"2026-11\"}", 1),
        ("mqtt_gate_judging_seconds_count{asked=\"login\"}", 4),
        ("mqtt_gate_judging_seconds_bucket{le=\"+Inf\",asked=\"login\"}", 4),
        ("mqtt_gate_malformed_requests_total", 1),
        ("mqtt_gate_misconfigured_total{route=\"(none)\",kind=\"no-such-route\"}", 1),
        ("mqtt_gate_misconfigured_total{route=\"/emqx/auth\",kind=\"placeholder\"}", 1),
        ("mqtt_gate_policy_generation", 2),
        ("mqtt_gate_swaps_total", 1),
        ("mqtt_gate_refused_candidates_total", 1),
        ("mqtt_gate_decisions_lost_total", 0),
    ] {
        assert_eq!(value(&told, series), expected, "{series}");
    }
    let made = value(&told, "mqtt_gate_instances_made_total");
    let gone = value(&told, "mqtt_gate_instances_dropped_total");
    assert!(made > gone && made - gone == value(&told, "mqtt_gate_instances"), "{told}");
    gate.stop().await;
}

/// A policy may name anything as the key that vouched. What is a secret, or does not look like an id, is shown nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_a_secret_is_not_shown_as_the_id_of_a_key() {
    // A key and a password that could be ids.
    let (key, password) = ("key-s3cret-key-s3cret-key-s3cret", "password-s3cret");
    let gate = Gate::start_with(MISBEHAVING, |config| config.policy.settings.set("signature-keys", key.into())).await;
    for way in ["password as id", "key as id", "odd id", "long id", "good id"] {
        let device = Device { password: password.into(), ..Device::causing(way) };
        assert_eq!(gate.connect(&device).await, 200, "{way}");
    }
    assert_eq!(gate.status().await["keys"], serde_json::json!([{ "id": "2026-11", "logins": 1 }]));
    let told = metrics(&gate).await;
    assert_eq!(value(&told, "mqtt_gate_key_logins_total{key=\"2026-11\"}"), 1);
    assert_eq!(told.matches("mqtt_gate_key_logins_total{").count(), 1, "no other id is told");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_each_kind_of_fault() {
    let gate = Gate::start(MISBEHAVING).await;
    for (misbehaviour, reason) in [("trap", "trap"), ("error", "no-verdict"), ("expired", "unfit-grant")] {
        let device = Device { password: "x".into(), ..Device::causing(misbehaviour) };
        gate.connect(&device).await;
        let told = metrics(&gate).await;
        assert!(told.contains(&format!("verdict=\"no-verdict\",reason=\"{reason}\"}} 1\n")), "{told}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_programs_parser_reads_them() {
    let gate = Gate::start(AUTH_CORE).await;
    gate.connect(&Device::genuine()).await;
    let told = metrics(&gate).await;
    let script = "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse; \
                  print(len([sample for family in parse(sys.stdin.read()) for sample in family.samples]))";
    let mut parser = Command::new(target().join("amqtt/bin/python"))
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the parser (tests/setup puts it into the target directory)");
    parser.stdin.take().unwrap().write_all(told.as_bytes()).await.unwrap();
    let output = parser.wait_with_output().await.unwrap();
    let samples: usize = String::from_utf8(output.stdout).unwrap().trim().parse().expect("the parser reads them");
    assert_eq!(samples, told.lines().filter(|line| !line.starts_with('#')).count());
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_in_the_documentation_has_every_metric_and_no_other() {
    let gate = Gate::start(AUTH_CORE).await;
    let told = metrics(&gate).await;
    let types = told.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.rsplit_once(' '));
    let told: BTreeSet<String> = types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATE.md")).unwrap();
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split(['`', '{']).next()?.to_owned());
    let documented: BTreeSet<String> =
        text.lines().filter_map(cell).filter(|name| name.starts_with("mqtt_gate_")).collect();
    assert_eq!(told, documented);
    gate.stop().await;
}
