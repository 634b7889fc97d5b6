//! TLS on both listeners: keys, client certificates, replacement of certificates, handshakes and closing.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::ca::Ca;
use crate::support::child::{GateProcess, write_config};
use crate::support::device::Device;
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::tls_files::TlsFiles;
use crate::support::{TEST_TIMEOUT, poll_until, within_timeout};

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/tls");

/// A private key of the test vectors in PEM.
pub(super) fn key(name: &str) -> String {
    std::fs::read_to_string(format!("{KEYS}/{name}.pem")).unwrap()
}

/// A gate with TLS on both listeners.
async fn tls_gate(files: &TlsFiles) -> GateProcess {
    let config = write_config(files.directory(), &format!("tls = {0}\nadmin_tls = {0}\n", files.toml()));
    GateProcess::start_config(&config).await
}

/// A gate with TLS on both listeners, which accepts only clients with a certificate of `client_ca`.
async fn mutual_tls_gate(files: &TlsFiles, client_ca: &Ca) -> GateProcess {
    files.replace("ca.pem", &client_ca.root());
    let text = format!("tls = {0}\nadmin_tls = {0}\n", files.toml_with_client_ca());
    GateProcess::start_config(&write_config(files.directory(), &text)).await
}

async fn status(ca: &Ca, admin: SocketAddr) -> Value {
    ca.connect(admin, None).await.unwrap().request(&get("/status")).await.json()
}

/// Asserts that both listeners serve TLS with this key. The certificate is made with the same key in PKCS#8.
async fn assert_serves_with_key(pkcs8: &str, name: &str) {
    let ca = Ca::new();
    let mut identity = ca.identity_with_key(&key(pkcs8));
    identity.key = key(name);
    let files = TlsFiles::new(&identity);
    let gate = tls_gate(&files).await;
    let mut connection = ca.connect(gate.auth, None).await.unwrap();
    connection.send(&[Device::valid().request(), Device::unsigned("x").request()].concat().repeat(100)).await;
    for _ in 0..100 {
        assert_eq!((connection.response().await.status, connection.response().await.status), (200, 401));
    }
    assert_eq!(status(&ca, gate.admin).await["authenticate"]["verdicts"]["allow"], 100);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_with_an_rsa_key_in_pkcs8() {
    assert_serves_with_key("rsa-pkcs8", "rsa-pkcs8").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_with_an_rsa_key_in_pkcs1() {
    assert_serves_with_key("rsa-pkcs8", "rsa-pkcs1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_with_an_ecdsa_key_in_pkcs8() {
    assert_serves_with_key("ecdsa-pkcs8", "ecdsa-pkcs8").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_with_an_ecdsa_key_in_sec1() {
    assert_serves_with_key("ecdsa-pkcs8", "ecdsa-sec1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_clients_are_disconnected_and_logged() {
    let files = TlsFiles::new(&Ca::new().identity());
    let gate = tls_gate(&files).await;
    for address in [gate.auth, gate.admin] {
        let mut plain = Connection::open(address).await;
        plain.send(&get("/mqtt/auth")).await;
        plain.wait_closed().await;
    }
    gate.wait_for_log("TLS handshake", 1).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepts_clients_with_a_certificate_of_the_client_ca() {
    let (ca, client_ca) = (Ca::new(), Ca::new());
    let gate = mutual_tls_gate(&TlsFiles::new(&ca.identity()), &client_ca).await;
    let identity = client_ca.identity();
    let mut client = ca.connect(gate.auth, Some(&identity)).await.unwrap();
    assert_eq!(client.request(&Device::valid().request()).await.status, 200);
    let mut client = ca.connect(gate.admin, Some(&identity)).await.unwrap();
    assert_eq!(client.request(&get("/readyz")).await.status, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_clients_without_a_certificate_of_the_client_ca() {
    let (ca, client_ca) = (Ca::new(), Ca::new());
    let gate = mutual_tls_gate(&TlsFiles::new(&ca.identity()), &client_ca).await;
    for address in [gate.auth, gate.admin] {
        for identity in [None, Some(ca.identity())] {
            // In TLS 1.3 a client learns of the rejection only when it reads.
            if let Ok(mut connection) = ca.connect(address, identity.as_ref()).await {
                connection.try_send(&Device::valid().request()).await;
                assert!(connection.try_response().await.is_none(), "a client without a valid certificate is answered");
            }
        }
    }
    let mut plain = Connection::open(gate.auth).await;
    plain.send(&get("/mqtt/auth")).await;
    plain.wait_closed().await;
    let mut admin = ca.connect(gate.admin, Some(&client_ca.identity())).await.unwrap();
    let status = admin.request(&get("/status")).await.json();
    assert_eq!(status["authenticate"]["calls"], 0);
    let failures = status["handshake_failures"].as_array().unwrap().iter();
    let causes: Vec<_> = failures
        .map(|failure| (failure["listener"].as_str().unwrap(), failure["cause"].as_str().unwrap(), &failure["count"]))
        .collect();
    let one = json!(1);
    let expected = [
        ("tls", "no-client-certificate", &one),
        ("tls", "client-certificate", &one),
        ("tls", "not-tls", &one),
        ("admin_tls", "no-client-certificate", &one),
        ("admin_tls", "client-certificate", &one),
    ];
    assert_eq!(causes, expected, "EMQX shows such a gate as connected");
    let metrics = admin.request(&get("/metrics")).await;
    let series = "mqtt_gate_tls_handshake_failures_total{listener=\"tls\",cause=\"no-client-certificate\"} 1\n";
    assert!(metrics.text().contains(series), "{}", metrics.text());
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_authenticates_with_a_client_certificate() {
    let (ca, client_ca) = (Ca::new(), Ca::new());
    let files = TlsFiles::new(&ca.identity());
    let gate = mutual_tls_gate(&files, &client_ca).await;
    let identity = client_ca.identity();
    let file = |name: &str, text: &str| {
        files.replace(name, text);
        files.path(name).display().to_string()
    };
    let (root, chain, key) = (file("root", &ca.root()), file("client", &identity.chain), file("ckey", &identity.key));
    let url = format!("https://localhost:{}/mqtt/auth", gate.auth.port());
    let curl = async |arguments: &[&str]| {
        let body = Device::valid().body().to_string();
        let mut command = Command::new("curl");
        command.args(["-s", "--cacert", &root, "-H", "content-type: application/json", "-d", &body, &url]);
        command.args(["--resolve", &format!("localhost:{}:127.0.0.1", gate.auth.port())]).args(arguments);
        within_timeout("curl", command.kill_on_drop(true).output()).await.expect("install curl: apt-get install curl")
    };
    let output = curl(&["--cert", &chain, "--key", &key]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), r#"{"result":"allow"}"#, "{output:?}");
    assert!(!curl(&[]).await.status.success());
    gate.stop().await;
}

/// Waits until the reload of both listeners' certificates has failed for a reason that contains `expected`.
async fn wait_for_reload_errors(ca: &Ca, admin: SocketAddr, expected: &str) -> Value {
    poll_until("the reload of both certificates fails", async || {
        let credentials = status(ca, admin).await["credentials"].clone();
        let reason = |at: usize| credentials[at]["reload_error"]["reason"].as_str().unwrap_or_default().to_owned();
        (reason(0).contains(expected) && reason(1).contains(expected)).then_some(credentials)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_certificate_keeps_the_previous_one_and_is_reported() {
    let (ca, other_ca) = (Ca::new(), Ca::new());
    let files = TlsFiles::new(&ca.identity());
    let gate = tls_gate(&files).await;
    assert_eq!(status(&ca, gate.admin).await["credentials"][0]["reload_error"], Value::Null);
    files.replace("chain.pem", "garbage");
    let garbage = wait_for_reload_errors(&ca, gate.admin, "chain.pem").await;
    // A certificate for another key.
    files.replace("chain.pem", &other_ca.identity().chain);
    let mismatch = wait_for_reload_errors(&ca, gate.admin, "key.pem").await;
    for (at, name) in ["tls", "admin_tls"].into_iter().enumerate() {
        assert_eq!((&mismatch[at]["name"], &mismatch[at]["expires"]), (&json!(name), &json!("4096-01-01T00:00:00Z")));
        assert_ne!(mismatch[at]["reload_error"]["reason"], garbage[at]["reload_error"]["reason"]);
    }
    ca.connect(gate.auth, None).await.unwrap();
    let log = gate.stop().await;
    assert!(log.contains("reload failed; keeping the previous version") && !log.contains("PRIVATE KEY"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_certificate_is_used_for_new_connections() {
    let (old_ca, new_ca) = (Ca::new(), Ca::new());
    let files = TlsFiles::new(&old_ca.identity());
    let gate = tls_gate(&files).await;
    let mut open = old_ca.connect(gate.auth, None).await.unwrap();
    assert!(new_ca.connect(gate.auth, None).await.is_err());
    let identity = new_ca.identity();
    files.replace("chain.pem", &identity.chain);
    files.replace("key.pem", &identity.key);
    for address in [gate.auth, gate.admin] {
        let uses_new = async || new_ca.connect(address, None).await.ok();
        poll_until("the new certificate is used", uses_new).await;
        assert!(old_ca.connect(address, None).await.is_err());
    }
    let credentials = &status(&new_ca, gate.admin).await["credentials"];
    assert_eq!((&credentials[0]["reload_error"], &credentials[1]["reload_error"]), (&Value::Null, &Value::Null));
    assert_eq!(open.request(&Device::valid().request()).await.status, 200, "an open connection continues");
    let log = gate.stop().await;
    assert!(!log.contains("PRIVATE KEY"));
}

/// Opens connections that do not complete a TLS handshake.
async fn stalled_handshakes(gate: &Gate) -> Vec<Connection> {
    let mut stalled = Vec::new();
    for _ in 0..20 {
        stalled.push(Connection::open(gate.auth).await);
    }
    // The beginning of a ClientHello.
    stalled[0].try_send(&[22, 3, 1]).await;
    stalled
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_handshakes_do_not_block_other_clients() {
    let ca = Ca::new();
    let files = TlsFiles::new(&ca.identity());
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.tls = Some(files.config());
        config.limits.request_timeout = 30 * TEST_TIMEOUT;
    })
    .await;
    let _stalled = stalled_handshakes(&gate).await;
    let mut connection = ca.connect(gate.auth, None).await.unwrap();
    assert_eq!(connection.request(&Device::valid().request()).await.status, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_out_stalled_handshakes() {
    let files = TlsFiles::new(&Ca::new().identity());
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.tls = Some(files.config());
        config.limits.request_timeout = Duration::from_millis(100);
    })
    .await;
    for mut connection in stalled_handshakes(&gate).await {
        connection.wait_closed().await;
    }
    gate.wait_until("the connections are closed", |status| status["connections"]["open"] == 0).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_completes_tls_requests_and_closes_cleanly() {
    let ca = Ca::new();
    let files = TlsFiles::new(&ca.identity());
    let mut gate = Gate::start_with(AUTH_CORE, |config| config.tls = Some(files.config())).await;
    let mut connection = ca.connect(gate.auth, None).await.unwrap();
    let request = Device::valid().request();
    let (begin, rest) = request.split_at(request.len() - 10);
    // All arrive together, so the first response shows that the gate has read the beginning of the last request.
    connection.send(&[&request.repeat(20), begin].concat()).await;
    assert_eq!(connection.response().await.status, 200);
    gate.begin_shutdown();
    for _ in 1..20 {
        assert_eq!(connection.response().await.status, 200);
    }
    connection.send(rest).await;
    assert_eq!(connection.response().await.status, 200);
    assert!(connection.try_response().await.is_none());
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_close_notify_after_connection_close() {
    let ca = Ca::new();
    let gate = tls_gate(&TlsFiles::new(&ca.identity())).await;
    for (address, target) in [(gate.auth, "/mqtt/auth"), (gate.admin, "/readyz")] {
        let mut connection = ca.connect(address, None).await.unwrap();
        let request = String::from_utf8(get(target)).unwrap().replace("host: gate", "host: gate\r\nconnection: close");
        assert_eq!(connection.request(request.as_bytes()).await.status, 200);
        assert!(connection.closes_cleanly().await, "{target}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_close_notify_after_the_client_closes() {
    let ca = Ca::new();
    let gate = tls_gate(&TlsFiles::new(&ca.identity())).await;
    for address in [gate.auth, gate.admin] {
        let mut connection = ca.connect(address, None).await.unwrap();
        connection.shutdown_write().await;
        assert!(connection.closes_cleanly().await);
    }
    gate.stop().await;
}
