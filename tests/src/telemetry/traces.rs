//! Traces: one span per login, nothing that a client sent, and no login waits for the collector.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::support::child::{GateProcess, run_rejected, serve_command, write_config};
use crate::support::device::Device;
use crate::support::http::{Connection, with_header};
use crate::support::within_timeout;

/// A collector that accepts spans. The task ends with the connection, and returns everything that it received.
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
            if is_complete(&all) {
                let response = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        }
    });
    (address, received)
}

/// Whether the bytes hold a request with its complete body.
fn is_complete(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() >= end + 4 + length)
}

fn traces_config(directory: &Path, table: &str) -> PathBuf {
    write_config(directory, &format!("limits.policy_timeout = \"20s\"\n[traces]\n{table}"))
}

async fn gate(directory: &TempDir, collector: SocketAddr) -> GateProcess {
    let table = format!("endpoint = \"http://{collector}/v1/traces\"\nsample_ratio = 1.0");
    GateProcess::start_config(&traces_config(directory.path(), &table)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_logins_without_client_data() {
    let directory = TempDir::new().unwrap();
    let (address, received) = collector().await;
    let gate = gate(&directory, address).await;
    let (valid, unsigned) = (Device::valid(), Device::unsigned("a stranger"));
    let mut connection = Connection::open(gate.auth).await;
    assert_eq!(connection.request(&valid.request()).await.status, 200);
    assert_eq!(connection.request(&unsigned.request()).await.status, 401);
    gate.stop().await;
    let received = within_timeout("the gate to disconnect", received).await.unwrap();
    let contains = |text: &str| received.windows(text.len()).any(|part| part == text.as_bytes());
    for text in ["POST /v1/traces", "service.name", "mqtt-gate", "/mqtt/auth", "allow", "client-identifier-not-valid"] {
        assert!(contains(text), "{text} is missing");
    }
    for secret in [&valid.client_id, &valid.username, &valid.password, &unsigned.client_id] {
        assert!(!contains(secret), "client data is in a trace");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_join_the_trace_of_the_request_and_follow_its_sampling() {
    let directory = TempDir::new().unwrap();
    let (address, received) = collector().await;
    // No decision is traced by itself.
    let table = format!("endpoint = \"http://{address}/v1/traces\"\nsample_ratio = 0.0");
    let gate = GateProcess::start_config(&traces_config(directory.path(), &table)).await;
    let (trace, unsampled, parent) =
        ("0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let mut connection = Connection::open(gate.auth).await;
    for header in [format!("00-{trace}-{parent}-01"), format!("00-{unsampled}-{parent}-00"), "nonsense".to_owned()] {
        let request = with_header(&Device::valid().request(), "traceparent", &header);
        assert_eq!(connection.request(&request).await.status, 200, "{header}");
    }
    gate.stop().await;
    let received = within_timeout("the gate to disconnect", received).await.unwrap();
    let contains = |hex: &str| {
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        received.windows(bytes.len()).filter(|part| *part == bytes).count()
    };
    assert_eq!((contains(trace), contains(parent), contains(unsampled)), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_collector_does_not_block_logins_and_is_logged_once() {
    let directory = TempDir::new().unwrap();
    // Bound and not listening, so that no other program gets the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let gate = gate(&directory, socket.local_addr().unwrap()).await;
    let mut connection = Connection::open(gate.auth).await;
    for _ in 0..3_000 {
        assert_eq!(connection.request(&Device::valid().request()).await.status, 200);
    }
    let log = gate.stop().await;
    let warnings = log.lines().filter(|line| line.contains("\"WARN\"") && line.contains("trace"));
    assert_eq!(warnings.count(), 1, "{log}");
}

/// Asserts exit code 64 and a last line that names a key of `[traces]`.
async fn assert_rejected(table: &str) {
    let directory = TempDir::new().unwrap();
    let config = traces_config(directory.path(), table);
    let (code, log) = run_rejected(&mut serve_command(&config)).await;
    let last = log.lines().last().unwrap();
    assert!(code == Some(64) && last.starts_with("mqtt-gate: traces."), "{table}: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_collector_over_https() {
    assert_rejected("endpoint = \"https://127.0.0.1:4318\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_invalid_endpoint() {
    assert_rejected("endpoint = \"http://no address\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_sample_ratio_above_one() {
    assert_rejected("sample_ratio = 2.0").await;
}
