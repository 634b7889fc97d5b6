//! `mqtt-gate status`: how a gate fares, asked as its operator may reach it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::cli::verbs::{json_line, sha256};
use crate::support::child::{mqtt_gate, run};
use crate::support::device::Device;
use crate::support::http::post_json;
use crate::support::in_process::{AUTH_CORE, Gate};

/// As little as a gate can tell.
const STATE: &str = r#"{"policy":{"name":"p","sha256":"00","generation":1}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_serves_and_what_is_wrong() {
    let gate = Gate::start(AUTH_CORE).await;
    assert_eq!(gate.connect(&Device::genuine()).await, 200);
    gate.ask(&post_json("/emqx/auth", &json!({ "clientid": "c", "peerhost": "${peerhost}" }))).await;
    gate.rename_policy(b"garbage");
    gate.until_rejected(1).await;
    let admin = gate.admin.to_string();
    let (code, printed, error) = run(&mut mqtt_gate(["status", "--admin", &admin])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let serves = format!("serves       auth-core, sha256 {}, generation 1\n", sha256(AUTH_CORE));
    for line in [
        &serves,
        "2: 1 allowed, 1 refused, 0 without a verdict\n",
        "rejected     1\n",
        "not a component",
        "unread       clients\n",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    let finding = &gate.status().await["misconfigured"][0];
    assert!(printed.contains(finding["remedy"].as_str().unwrap()), "the remedy is told: {printed}");
    let (_, printed, _) = run(&mut mqtt_gate(["status", "--admin", &format!("http://{admin}/"), "--json"])).await;
    assert_eq!(json_line(&printed)["policy"], gate.status().await["policy"]);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_cannot_be_asked_is_told_from_a_wrong_address() {
    let gate = Gate::start(AUTH_CORE).await;
    let logins = gate.logins.to_string();
    // Bound and not listening: nobody else is given this port meanwhile.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let nobody = (nobody.local_addr().unwrap().to_string(), nobody);
    for (address, code, complaint) in [
        (nobody.0.as_str(), 70, "does not answer"),
        (&logins, 64, "not the admin address of a gate"),
        ("user:s3cret@gate:1", 64, "not an address"),
        ("https://gate:8004", 64, "--ca"),
    ] {
        let (exit, printed, error) = run(&mut mqtt_gate(["status", "--admin", address])).await;
        assert_eq!((exit, printed.as_str()), (Some(code), ""), "{error}");
        assert!(error.contains(complaint) && error.lines().count() == 1 && !error.contains("s3cret"), "{error}");
    }
    gate.stop().await;
}

/// Answers one request with this status and body; the head of the request.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, status: &str, body: &str) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_to_the_gate_and_to_nobody_else() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "token-s3cret\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let one = async |status| answer(listener.accept().await.unwrap().0, status, STATE).await;
    let status = || mqtt_gate(["status", "--admin", &address]);
    let with_file = || mqtt_gate(["status", "--admin", &address, "--token-file", file.to_str().unwrap()]);
    let with_variable = || {
        let mut command = status();
        command.env("MQTT_GATE_ADMIN_TOKEN", "token-s3cret");
        command
    };
    for (mut command, status, code, complaint) in [
        (with_file(), "200 OK", 0, ""),
        (with_variable(), "200 OK", 0, ""),
        (with_file(), "401 Unauthorized", 64, "does not take this token"),
        (status(), "401 Unauthorized", 64, "set MQTT_GATE_ADMIN_TOKEN"),
        (with_variable(), "302 Found\r\nlocation: http://127.0.0.1:1/", 64, "not the admin address"),
    ] {
        let is_shown = !complaint.contains("MQTT_GATE_ADMIN_TOKEN");
        let (head, (exit, printed, error)) = tokio::join!(one(status), run(&mut command));
        assert_eq!(exit, Some(code), "{error}");
        assert!(error.contains(complaint) && !error.contains("s3cret") && !printed.contains("s3cret"), "{error}");
        assert_eq!(head.to_ascii_lowercase().contains("authorization: bearer token-s3cret\r\n"), is_shown);
    }
}

/// Somebody with a certificate, in files that are called after them.
fn somebody(directory: &Path, name: &str) -> CertifiedKey<KeyPair> {
    let somebody = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(directory.join(format!("{name}.pem")), somebody.cert.pem()).unwrap();
    fs::write(directory.join(format!("{name}.key")), somebody.signing_key.serialize_pem()).unwrap();
    somebody
}

/// A gate that speaks TLS, and knows this client alone if it asks for one.
fn acceptor(gate: &CertifiedKey<KeyPair>, client: Option<&CertifiedKey<KeyPair>>) -> TlsAcceptor {
    let builder = match client {
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(client.cert.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
        None => ServerConfig::builder().with_no_client_auth(),
    };
    let key = gate.signing_key.serialize_der().try_into().unwrap();
    Arc::new(builder.with_single_cert(vec![gate.cert.der().clone()], key).unwrap()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_behind_tls_is_asked_by_whom_it_trusts_and_if_it_is_trusted() {
    let directory = TempDir::new().unwrap();
    let (gate, client) = (somebody(directory.path(), "gate"), somebody(directory.path(), "client"));
    somebody(directory.path(), "stranger");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let (open, closed) = (acceptor(&gate, None), acceptor(&gate, Some(&client)));
    for (acceptor, flags, code) in [
        (&open, "--ca gate.pem", 0),
        (&open, "--ca stranger.pem", 64),
        (&closed, "--ca gate.pem --cert client.pem --key client.key", 0),
        (&closed, "--ca gate.pem --cert stranger.pem --key stranger.key", 64),
        (&closed, "--ca gate.pem", 64),
    ] {
        let mut command = mqtt_gate(["status", "--admin", &address]);
        command.args(flags.split(' ')).current_dir(&directory);
        let serve = async {
            match acceptor.accept(listener.accept().await.unwrap().0).into_fallible().await {
                Ok(stream) => drop(answer(stream, "200 OK", STATE).await),
                // Until the client has read why: a connection that is reset takes that with it.
                Err((_, mut stream)) => drop(stream.read_to_end(&mut Vec::new()).await),
            }
        };
        let ((), (exit, printed, error)) = tokio::join!(serve, run(&mut command));
        assert_eq!(exit, Some(code), "{flags}: {error}");
        if code == 0 {
            assert!(printed.contains("serves       p, sha256 00"), "{printed}");
        } else {
            assert!(error.contains("do not trust each other") && error.lines().count() == 1, "{error}");
        }
    }
}
