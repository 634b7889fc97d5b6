//! Expired certificates and failed reloads are visible in metrics, `status` and the log. The dashboard shows them too:
//! `admin::external::dashboard`.

use crate::support::ca::Ca;
use crate::support::child::{GateProcess, mqtt_gate, run, write_config};
use crate::support::http::{Connection, get};
use crate::support::poll_until;
use crate::support::tls_files::TlsFiles;

/// A secret that is valid at first, and one that is too short.
const SECRETS: [&str; 2] = ["0123456789abcdef", "short"];

/// A gate whose certificate expired in 2020, and whose broker secret was replaced by an invalid one.
pub(crate) async fn gate_with_bad_credentials() -> (GateProcess, TlsFiles) {
    let files = TlsFiles::new(&Ca::new().identity_expiring(2020));
    files.replace("secret", SECRETS[0]);
    let secret = files.path("secret");
    let text = format!("tls = {}\naccess.broker_secret = {{ file = {secret:?} }}\n", files.toml());
    let gate = GateProcess::start_config(&write_config(files.directory(), &text)).await;
    files.replace("secret", SECRETS[1]);
    let reload_error = async || {
        let status = Connection::open(gate.admin).await.request(&get("/status")).await.json();
        let mut credentials = status["credentials"].as_array().unwrap().iter();
        credentials.any(|credential| !credential["reload_error"].is_null()).then_some(())
    };
    poll_until("the reload of the secret fails", reload_error).await;
    (gate, files)
}

/// Asserts that none of the secrets is shown.
pub(crate) fn assert_shows_no_secret(text: &str) {
    assert!(!text.contains(SECRETS[0]) && !text.contains("short\""), "a secret is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_report_expiry_and_failed_reloads() {
    let (gate, _files) = gate_with_bad_credentials().await;
    let metrics = Connection::open(gate.admin).await.request(&get("/metrics")).await;
    for line in [
        "mqtt_gate_credential_reload_failed{credential=\"tls\"} 0\n",
        "mqtt_gate_credential_reload_failed{credential=\"access.broker_secret\"} 1\n",
        // `date -ud 2020-12-31 +%s`
        "mqtt_gate_certificate_not_after_timestamp_seconds{credential=\"tls\"} 1609372800\n",
    ] {
        assert!(metrics.text().contains(line), "no {line} in {}", metrics.text());
    }
    assert!(!metrics.text().contains("not_after_timestamp_seconds{credential=\"access"), "a secret does not expire");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_command_reports_expiry_and_failed_reloads() {
    let (gate, _files) = gate_with_bad_credentials().await;
    let (code, printed, _) = run(&mut mqtt_gate(["status", "--admin", &gate.admin.to_string()])).await;
    assert_eq!(code, Some(0));
    let line = |text: &str| printed.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{printed}"));
    assert!(line("secured by").contains("tls") && line("expires").contains("2020-12-31T00:00:00Z"), "{printed}");
    for text in ["WARNING ", "access.broker_secret", "16 to 1024"] {
        line(text);
    }
    assert_shows_no_secret(&printed);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_warns_of_an_expired_certificate() {
    let (gate, _files) = gate_with_bad_credentials().await;
    let log = gate.stop().await;
    assert!(log.contains("certificate") && log.contains("expired"), "{log}");
    assert_shows_no_secret(&log);
}
