//! `access.admin_token`: everything but the probes needs the token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;

use crate::support::child::{GateProcess, write_config};
use crate::support::device::Device;
use crate::support::http::{Connection, Response, get, with_header};

const TOKEN: &str = "a-secret-of-these-tests";

async fn gate_with_token() -> (GateProcess, TempDir) {
    let directory = TempDir::new().unwrap();
    let config = write_config(directory.path(), &format!("access.admin_token = {TOKEN:?}"));
    (GateProcess::start_config(&config).await, directory)
}

async fn get_with(gate: &GateProcess, path: &str, authorization: &str) -> Response {
    let request = with_header(&get(path), "authorization", authorization);
    Connection::open(gate.admin).await.request(&request).await
}

fn basic(user_and_password: &str) -> String {
    format!("Basic {}", STANDARD.encode(user_and_password))
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_logins_need_no_token() {
    let (gate, _directory) = gate_with_token().await;
    for probe in ["/livez", "/readyz"] {
        assert_eq!(Connection::open(gate.admin).await.request(&get(probe)).await.status, 200);
    }
    assert_eq!(Connection::open(gate.auth).await.request(&Device::valid().request()).await.status, 200);
    gate.stop().await;
}

fn assert_challenged(response: &Response, path: &str) {
    assert_eq!(response.status, 401, "{path}");
    assert!(response.header("www-authenticate").is_some_and(|challenge| challenge.contains("mqtt-gate")));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_valid_token_are_challenged_and_logged() {
    let (gate, _directory) = gate_with_token().await;
    for path in ["/status", "/", "/metrics", "/nowhere", "/livez/"] {
        assert_challenged(&Connection::open(gate.admin).await.request(&get(path)).await, path);
        for authorization in ["Bearer a-secret-of-these-testS", &basic("admin:x"), TOKEN] {
            assert_challenged(&get_with(&gate, path, authorization).await, path);
        }
    }
    let log = gate.stop().await;
    assert!(log.contains("wrong token") && !log.contains(TOKEN), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_accepted_as_bearer_and_as_basic_password() {
    let (gate, _directory) = gate_with_token().await;
    let basic = ["me:", ":"].map(|user| basic(&format!("{user}{TOKEN}")));
    let bearer = ["Bearer", "bearer"].map(|scheme| format!("{scheme} {TOKEN}"));
    for authorization in bearer.iter().chain(&basic) {
        let response = get_with(&gate, "/status", authorization).await;
        assert_eq!((response.status, &response.json()["policy"]["generation"]), (200, &json!(1)));
        assert_eq!(get_with(&gate, "/nowhere", authorization).await.status, 404);
    }
    let log = gate.stop().await;
    assert!(!log.contains(TOKEN), "{log}");
}
