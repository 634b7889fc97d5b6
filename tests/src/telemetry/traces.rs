//! Traces: what a collector of OpenTelemetry is sent, and that nobody waits for it.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::child::{PATIENCE, Running, mqtt_gate, run};
use crate::support::device::{Device, KEY};
use crate::support::http::Connection;

/// What the collector is sent, up to the end of the gate.
async fn collector() -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut all, mut part) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let read = stream.read(&mut part).await.unwrap_or(0);
            if read == 0 {
                return all;
            }
            all.extend_from_slice(&part[..read]);
            if is_whole(&all) {
                let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (address, received)
}

/// Whether there is a request with its whole body.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() >= end + 4 + length)
}

async fn gate(directory: &TempDir, endpoint: &str) -> Running {
    let config = directory.path().join("gate.toml");
    fs::write(&config, format!("limits.deadline = \"20s\"\n[traces]\nendpoint = {endpoint:?}\nshare = 1.0")).unwrap();
    let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap()]);
    Running::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_told_of_each_login_and_of_no_client() {
    let directory = TempDir::new().unwrap();
    let (address, received) = collector().await;
    let running = gate(&directory, &format!("http://{address}/v1/traces")).await;
    let (genuine, stranger) = (Device::genuine(), Device::named("a stranger"));
    let mut connection = Connection::open(running.logins).await;
    assert_eq!(connection.ask(&genuine.request()).await.status, 200);
    assert_eq!(connection.ask(&stranger.request()).await.status, 401);
    running.terminate();
    assert_eq!(running.end().await.0, Some(0));
    let received = timeout(PATIENCE, received).await.expect("the connection ends").unwrap();
    let holds = |text: &str| received.windows(text.len()).any(|part| part == text.as_bytes());
    for text in ["POST /v1/traces", "service.name", "mqtt-gate", "/mqtt/auth", "allow", "client-identifier-not-valid"] {
        assert!(holds(text), "{text} is missing");
    }
    for secret in [&genuine.client_id, &genuine.username, &genuine.password, &stranger.client_id] {
        assert!(!holds(secret), "what a client sent is in a trace");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_holds_up_nobody() {
    let directory = TempDir::new().unwrap();
    // Bound and not listening: nobody else is given this port meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let closed = socket.local_addr().unwrap();
    let running = gate(&directory, &format!("http://{closed}/v1/traces")).await;
    let mut connection = Connection::open(running.logins).await;
    for _ in 0..3_000 {
        assert_eq!(connection.ask(&Device::genuine().request()).await.status, 200);
    }
    running.terminate();
    let (code, _, log) = running.end().await;
    assert_eq!((code, log.matches("traces cannot be sent").count()), (Some(0), 1), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_none_is_an_operators_mistake() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("gate.toml");
    for traces in ["endpoint = \"https://127.0.0.1:4318\"", "endpoint = \"http://no address\"", "share = 2.0"] {
        fs::write(&config, format!("[traces]\n{traces}")).unwrap();
        let config = config.to_str().unwrap();
        let arguments = ["serve", "--config", config, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let (code, _, log) = run(mqtt_gate(arguments).env("MQTT_SIGNATURE_KEY", KEY)).await;
        let last = log.lines().last().unwrap();
        assert!(code == Some(64) && last.starts_with("mqtt-gate: traces."), "{traces}: {log}");
    }
}
