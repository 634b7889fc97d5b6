//! `/metrics`: every outcome is counted, under documented names, and nothing that a client sent is shown.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get, post, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING};

/// A text that every client of the scenario sends in some field.
const CLIENT_TEXT: &str = "s3ntByAClient";

pub(super) async fn metrics(gate: &Gate) -> String {
    let response = Connection::open(gate.admin).await.request(&get("/metrics")).await;
    assert_eq!(response.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    response.text().to_owned()
}

/// The value of the only sample with this name and these labels.
fn value(metrics: &str, series: &str) -> u64 {
    let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = lines.next().unwrap_or_else(|| panic!("no {series} in {metrics}"));
    assert_eq!(lines.next(), None, "{series} is a duplicate");
    value.parse().unwrap()
}

/// The metrics after some logins, a swap and a rejected policy.
struct Scenario {
    metrics: String,
    /// Label of the policy that gave the verdicts.
    policy: String,
}

async fn scenario() -> &'static Scenario {
    static SCENARIO: OnceCell<Scenario> = OnceCell::const_new();
    SCENARIO.get_or_init(run_scenario).await
}

async fn run_scenario() -> Scenario {
    let keys = format!(r#"[{{"id":"2026-11","key":"{KEY}"}}]"#);
    let gate = Gate::start_with(AUTH_CORE, |config| config.policy.first.settings.set("signature-keys", keys)).await;
    let valid = Device::valid();
    assert_eq!(gate.authenticate(&valid).await, 200);
    for client_id in [CLIENT_TEXT.to_owned(), valid.client_id.clone()] {
        let device = Device { client_id, password: CLIENT_TEXT.into(), ..valid.clone() };
        assert_eq!(gate.authenticate(&device).await, 401);
    }
    gate.request(&post(&format!("/mqtt/{CLIENT_TEXT}"), "text/plain", CLIENT_TEXT.as_bytes())).await;
    let unresolved =
        json!({ "clientid": "c", "username": "u", "password": "p", "peerhost": "${x}", CLIENT_TEXT: "${x}" });
    gate.request(&post_json("/emqx/auth", &unresolved)).await;
    gate.request(&post_json("/mosquitto/superuser", &json!({ "username": CLIENT_TEXT }))).await;
    gate.rename_policy(&fs::read(LOCKDOWN).unwrap());
    let is_recorded = |status: &Value| status["history"][0]["generation"] == 2;
    let status = gate.wait_until("the policy is swapped", is_recorded).await;
    gate.rename_policy(b"garbage");
    gate.wait_for_rejection(1).await;
    let metrics = metrics(&gate).await;
    gate.stop().await;
    Scenario { metrics, policy: status["history"][1]["sha256"].as_str().unwrap()[..12].to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_counted_by_route_policy_verdict_and_reason() {
    let Scenario { metrics, policy } = scenario().await;
    let count = |verdict: &str, reason: &str, route: &str| {
        let labels = format!(
            "route=\"{route}\",member=\"policy\",policy=\"{policy}\",verdict=\"{verdict}\",reason=\"{reason}\""
        );
        value(metrics, &format!("mqtt_gate_decisions_total{{operation=\"authenticate\",{labels}}}"))
    };
    assert_eq!(count("allow", "", "/mqtt/auth"), 1);
    assert_eq!(count("deny", "client-identifier-not-valid", "/mqtt/auth"), 1);
    assert_eq!(count("deny", "bad-user-name-or-password", "/mqtt/auth"), 1);
    assert_eq!(count("deny", "client-identifier-not-valid", "/emqx/auth"), 1);
    let superuser = "operation=\"authorize\",route=\"/mosquitto/superuser\",member=\"others\",policy=\"others\"";
    let labels = format!("{superuser},verdict=\"deny\",reason=\"always-denied\"");
    assert_eq!(value(metrics, &format!("mqtt_gate_decisions_total{{{labels}}}")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_are_counted_by_key() {
    assert_eq!(value(&scenario().await.metrics, "mqtt_gate_logins_by_key_total{key=\"2026-11\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn decision_durations_are_a_histogram() {
    let metrics = &scenario().await.metrics;
    let name = "mqtt_gate_decision_duration_seconds";
    assert_eq!(value(metrics, &format!("{name}_count{{operation=\"authenticate\"}}")), 4);
    assert_eq!(value(metrics, &format!("{name}_bucket{{le=\"+Inf\",operation=\"authenticate\"}}")), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_and_config_warnings_are_counted() {
    let metrics = &scenario().await.metrics;
    for series in [
        "mqtt_gate_malformed_requests_total",
        "mqtt_gate_config_warnings_total{route=\"(none)\",kind=\"no-such-route\"}",
        "mqtt_gate_config_warnings_total{route=\"/emqx/auth\",kind=\"placeholder\"}",
    ] {
        assert_eq!(value(metrics, series), 1, "{series}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_are_counted_by_result() {
    let metrics = &scenario().await.metrics;
    assert_eq!(value(metrics, "mqtt_gate_policy_generation{member=\"policy\"}"), 2);
    for result in ["success", "failure"] {
        let series = format!("mqtt_gate_policy_reloads_total{{member=\"policy\",result=\"{result}\"}}");
        assert_eq!(value(metrics, &series), 1, "{result}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_and_dropped_decision_lines_are_counted() {
    // Not the scenario: whether the last instance of a replaced policy is destroyed is a matter of time there.
    let gate = Gate::start(AUTH_CORE).await;
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    let metrics = &metrics(&gate).await;
    gate.stop().await;
    let created = value(metrics, "mqtt_gate_instances_created_total");
    let destroyed = value(metrics, "mqtt_gate_instances_destroyed_total");
    // Preflight destroys its instance. That of the login is kept for the next one.
    assert!(destroyed > 0 && created > destroyed, "{metrics}");
    assert_eq!(created - destroyed, value(metrics, "mqtt_gate_instances"), "{metrics}");
    assert_eq!(value(metrics, "mqtt_gate_decision_log_dropped_total"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_nothing_that_a_client_sent() {
    let metrics = &scenario().await.metrics;
    assert!(!metrics.contains(CLIENT_TEXT), "{metrics}");
}

/// A policy can return any text as the id of a key. Only ids that the settings name are shown.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_never_shown_as_key_ids() {
    // A key and a password that have the form of an id.
    let (key, password) = ("key-s3cret-key-s3cret-key-s3cret", "password-s3cret");
    let ring = json!([{ "id": "2026-11", "key": "another key of these tests" }]).to_string();
    let gate = Gate::start_with(MISBEHAVING, |config| {
        config.policy.first.settings.set("signature-keys", key.into());
        config.policy.first.settings.set("ring", ring);
    })
    .await;
    for behaviour in ["password as id", "key as id", "part of key as id", "odd id", "long id", "good id"] {
        let device = Device { password: password.into(), ..Device::triggering(behaviour) };
        assert_eq!(gate.authenticate(&device).await, 200, "{behaviour}");
    }
    assert_eq!(gate.status().await["keys"], json!([{ "id": "2026-11", "logins": 1 }]));
    let metrics = metrics(&gate).await;
    assert_eq!(value(&metrics, "mqtt_gate_logins_by_key_total{key=\"2026-11\"}"), 1);
    assert_eq!(metrics.matches("mqtt_gate_logins_by_key_total{").count(), 1, "no other id is shown");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_counted_by_reason() {
    let gate = Gate::start(MISBEHAVING).await;
    for (fault, reason) in [("trap", "trap"), ("error", "no-verdict"), ("expired", "unsupported-grant")] {
        let device = Device { password: "x".into(), ..Device::triggering(fault) };
        gate.authenticate(&device).await;
        let metrics = metrics(&gate).await;
        assert!(metrics.contains(&format!("verdict=\"error\",reason=\"{reason}\"}} 1\n")), "{metrics}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documentation_lists_every_metric_and_no_other() {
    let gate = Gate::start(AUTH_CORE).await;
    let metrics = metrics(&gate).await;
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.rsplit_once(' '));
    let served: BTreeSet<String> = types
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
    assert_eq!(served, documented);
    gate.stop().await;
}
