//! What stands before an address is shown as it is: when a certificate ends, and which files are of no use.

use std::fs;

use crate::admin::dashboard::shown_at;
use crate::security::tls::Files;
use crate::support::ca::Authority;
use crate::support::child::{Running, mqtt_gate, run};
use crate::support::device::KEY;
use crate::support::http::{Connection, get};

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_a_certificate_and_files_of_no_use_are_told_everywhere() {
    let authority = Authority::new();
    let files = Files::of(&authority.identity_until(2020));
    let secret = files.path("secret");
    fs::write(&secret, "0123456789abcdef").unwrap();
    let config = files.path("gate.toml");
    fs::write(&config, format!("tls = {}\naccess.broker_secret = {{ file = {secret:?} }}\n", files.toml())).unwrap();
    let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap()]);
    let gate = Running::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await;
    files.put("secret", "short");
    gate.until_logged("of no use; what they held before stays in use", 1).await;
    let metrics = Connection::open(gate.admin).await.ask(&get("/metrics")).await;
    for line in [
        "mqtt_gate_safeguard_refused{safeguard=\"tls\"} 0\n",
        "mqtt_gate_safeguard_refused{safeguard=\"access.broker_secret\"} 1\n",
        // `date -ud 2020-12-31 +%s`
        "mqtt_gate_certificate_expires_timestamp_seconds{safeguard=\"tls\"} 1609372800\n",
    ] {
        assert!(metrics.text().contains(line), "no {line} in {}", metrics.text());
    }
    assert!(!metrics.text().contains("expires_timestamp_seconds{safeguard=\"access"), "a secret does not end");
    let (code, printed, _) = run(&mut mqtt_gate(["status", "--admin", &gate.admin.to_string()])).await;
    assert_eq!(code, Some(0));
    for line in [
        "kept by      tls, a certificate until 2020-12-31T00:00:00Z\n",
        "kept by      access.broker_secret, a secret\nMISTAKE      its files are of no use since ",
        "             access.broker_secret must be 16 to 1024 letters",
    ] {
        assert!(printed.contains(line), "no {line} in {printed}");
    }
    let page = shown_at(gate.admin).await;
    for text in [
        "The certificate of tls has expired",
        "The files of access.broker_secret have been of no use since ",
        "must be 16 to 1024 letters",
        "certificate until 2020-12-31",
    ] {
        assert!(page.contains(text), "no {text:?} in {page}");
    }
    gate.terminate();
    let (code, _, log) = gate.end().await;
    assert_eq!(code, Some(0));
    assert!(log.contains("the certificate has expired"), "{log}");
    assert!(![log, printed, page].iter().any(|text| text.contains("0123456789abcdef") || text.contains("short\"")));
}
