//! `mqtt-gate status`: what a running gate reports, over plain HTTP and TLS, with and without a token.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::inspect::sha256;
use crate::support::child::{mqtt_gate, run};
use crate::support::cli_fixture::json_line;
use crate::support::device::Device;
use crate::support::http::post_json;
use crate::support::in_process::{AUTH_CORE, Gate};

/// The smallest `/status` that the command accepts.
const MINIMAL_STATUS: &str = r#"{"policy":{"name":"p","sha256":"00","generation":1}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_policy_counts_warnings_and_rejections() {
    let gate = Gate::start(AUTH_CORE).await;
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    gate.request(&post_json("/emqx/auth", &json!({ "clientid": "c", "peerhost": "${peerhost}" }))).await;
    gate.rename_policy(b"garbage");
    gate.wait_for_rejection(1).await;
    let admin = gate.admin.to_string();
    let (code, printed, error) = run(&mut mqtt_gate(["status", "--admin", &admin])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let policy = format!("auth-core, sha256 {}, generation 1\n", sha256(AUTH_CORE));
    let status = gate.status().await;
    let hint = status["config_warnings"][0]["hint"].as_str().unwrap();
    for text in [&policy, "1 allowed, 1 denied", "not a component", "WARNING ", hint] {
        assert!(printed.contains(text), "no {text:?} in {printed}");
    }
    let is_unused = |line: &str| line.contains("unused settings") && line.contains("clients");
    assert!(printed.lines().any(is_unused), "{printed}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_the_status_of_the_gate() {
    let gate = Gate::start(AUTH_CORE).await;
    let url = format!("http://{}/", gate.admin);
    let (code, printed, _) = run(&mut mqtt_gate(["status", "--admin", &url, "--json"])).await;
    assert_eq!(code, Some(0));
    assert_eq!(json_line(&printed)["policy"], gate.status().await["policy"]);
    gate.stop().await;
}

/// Asserts an exit code and one line on standard error that contains `expected`.
async fn assert_fails(address: &str, code: i32, expected: &str) {
    let (exit, printed, error) = run(&mut mqtt_gate(["status", "--admin", address])).await;
    assert_eq!((exit, printed.as_str()), (Some(code), ""), "{error}");
    assert!(error.contains(expected) && error.lines().count() == 1 && !error.contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_gate_exits_70() {
    // Bound and not listening, so that no other program gets the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    assert_fails(&address, 70, &address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn address_for_brokers_exits_64() {
    let gate = Gate::start(AUTH_CORE).await;
    let address = gate.auth.to_string();
    assert_fails(&address, 64, "admin").await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_address_exits_64_without_echo() {
    assert_fails("user:s3cret@gate:1", 64, "address").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn https_without_a_ca_exits_64() {
    assert_fails("https://gate:8004", 64, "--ca").await;
}

/// Answers one request with this status line and body. Returns the head of the request.
async fn respond(mut stream: impl AsyncRead + AsyncWrite + Unpin, status: &str, body: &str) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let response = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all(response.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(head).unwrap()
}

const TOKEN: &str = "token-s3cret";

/// Runs `status` against a gate that responds with this status line. Asserts the exit code, that the error contains
/// `expected`, and whether the token was sent.
async fn assert_token(change: impl FnOnce(&mut Command), sends: bool, status: &str, code: i32, expected: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut command = mqtt_gate(["status", "--admin", &listener.local_addr().unwrap().to_string()]);
    change(&mut command);
    let respond = async { respond(listener.accept().await.unwrap().0, status, MINIMAL_STATUS).await };
    let (head, (exit, printed, error)) = tokio::join!(respond, run(&mut command));
    assert_eq!(exit, Some(code), "{error}");
    assert!(error.contains(expected) && !error.contains("s3cret") && !printed.contains("s3cret"), "{error}");
    let header = format!("authorization: bearer {TOKEN}\r\n");
    assert_eq!(head.to_ascii_lowercase().contains(&header), sends);
}

fn token_variable(command: &mut Command) {
    command.env("MQTT_GATE_ADMIN_TOKEN", TOKEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_the_token_from_a_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let token_file = |command: &mut Command| {
        command.arg("--token-file").arg(&file);
    };
    assert_token(token_file, true, "200 OK", 0, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_the_token_from_the_environment() {
    assert_token(token_variable, true, "200 OK", 0, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_token_exits_64() {
    assert_token(token_variable, true, "401 Unauthorized", 64, "token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_token_exits_64_and_names_the_variable() {
    assert_token(|_| {}, false, "401 Unauthorized", 64, "MQTT_GATE_ADMIN_TOKEN").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let redirect = "302 Found\r\nlocation: http://127.0.0.1:1/";
    assert_token(token_variable, true, redirect, 64, "admin").await;
}

/// Makes a self-signed certificate, as `NAME.pem` and `NAME.key`.
fn self_signed(directory: &Path, name: &str) -> CertifiedKey<KeyPair> {
    let certified = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(directory.join(format!("{name}.pem")), certified.cert.pem()).unwrap();
    fs::write(directory.join(format!("{name}.key")), certified.signing_key.serialize_pem()).unwrap();
    certified
}

/// A TLS server that requires the certificate of `client`, if there is one.
fn acceptor(server: &CertifiedKey<KeyPair>, client: Option<&CertifiedKey<KeyPair>>) -> TlsAcceptor {
    let builder = match client {
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(client.cert.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
        None => ServerConfig::builder().with_no_client_auth(),
    };
    let key = server.signing_key.serialize_der().try_into().unwrap();
    Arc::new(builder.with_single_cert(vec![server.cert.der().clone()], key).unwrap()).into()
}

/// Runs `status` with these flags against a TLS server. The files `gate`, `client` and `stranger` exist.
async fn assert_tls(requires_client: bool, flags: &str, code: i32) {
    let directory = TempDir::new().unwrap();
    let (gate, client) = (self_signed(directory.path(), "gate"), self_signed(directory.path(), "client"));
    self_signed(directory.path(), "stranger");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = acceptor(&gate, requires_client.then_some(&client));
    let mut command = mqtt_gate(["status", "--admin", &address]);
    command.args(flags.split(' ')).current_dir(&directory);
    let serve = async {
        match acceptor.accept(listener.accept().await.unwrap().0).into_fallible().await {
            Ok(stream) => drop(respond(stream, "200 OK", MINIMAL_STATUS).await),
            // Until the client has read the alert, which a reset would discard.
            Err((_, mut stream)) => drop(stream.read_to_end(&mut Vec::new()).await),
        }
    };
    let ((), (exit, printed, error)) = tokio::join!(serve, run(&mut command));
    assert_eq!(exit, Some(code), "{error}");
    if code == 0 {
        assert!(printed.contains("p, sha256 00"), "{printed}");
    } else {
        assert!(error.contains(&address) && error.lines().count() == 1, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trusts_the_given_ca() {
    assert_tls(false, "--ca gate.pem", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_gate_of_another_ca() {
    assert_tls(false, "--ca stranger.pem", 64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presents_a_client_certificate() {
    assert_tls(true, "--ca gate.pem --cert client.pem --key client.key", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_client_certificate_exits_64() {
    assert_tls(true, "--ca gate.pem --cert stranger.pem --key stranger.key", 64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_client_certificate_exits_64() {
    assert_tls(true, "--ca gate.pem", 64).await;
}
