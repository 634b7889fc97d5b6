//! `access.broker_secret`: only brokers that send the secret are served.

use std::fs;

use mqtt_gate_engine::SecretSource;
use serde_json::json;
use tempfile::TempDir;

use crate::support::child::{GateProcess, serve_command, write_config};
use crate::support::device::Device;
use crate::support::http::{Connection, get, post_json, with_header};
use crate::support::in_process::{AUTH_CORE, Gate, MISBEHAVING};
use crate::support::poll_until;

const SECRET: &str = "a-secret-of-these-tests";

fn with_secret(request: &[u8], secret: &str) -> Vec<u8> {
    with_header(request, "x-mqtt-gate-secret", secret)
}

async fn gate_with_secret() -> Gate {
    Gate::start_with(AUTH_CORE, |config| {
        config.access.broker_secret = Some(SecretSource::inline(SECRET.into()));
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_the_secret_are_denied_in_the_dialect_of_their_route() {
    let gate = gate_with_secret().await;
    for (route, status, denial) in [
        ("/mqtt/auth", 401, r#""result":"deny""#),
        ("/mqtt/acl", 401, r#""result":"deny""#),
        ("/emqx/auth", 200, r#""result":"deny""#),
        ("/emqx/acl", 200, r#""result":"deny""#),
        ("/rabbitmq/user", 200, "deny"),
        ("/rabbitmq/vhost", 200, "deny"),
        ("/mosquitto/user", 401, r#""Ok":false"#),
        ("/mosquitto/superuser", 401, r#""Ok":false"#),
        ("/vernemq", 200, "not_allowed"),
    ] {
        let request = Device::valid().request_to(route);
        let wrong = ["a-secret-of-these-testS", ""].map(|secret| with_secret(&request, secret));
        for request in [&request, &wrong[0], &wrong[1]] {
            let response = gate.request(request).await;
            assert!(response.status == status && response.text().contains(denial), "{route}: {response:?}");
        }
        let status = gate.status().await;
        for kind in ["no-secret", "wrong-secret"] {
            let mut warnings = status["config_warnings"].as_array().unwrap().iter();
            let warning = warnings.find(|warning| warning["route"] == route && warning["kind"] == kind);
            let hint = warning.unwrap_or_else(|| panic!("{route} {kind}: {status}"))["hint"].as_str().unwrap();
            assert!(hint.contains("access.broker_secret"), "{hint}");
        }
    }
    assert_eq!(gate.status().await["authenticate"]["calls"], 0);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_the_secret_are_evaluated() {
    let gate = gate_with_secret().await;
    let device = Device::valid();
    let body = json!({ "clientid": device.client_id, "username": device.username, "password": device.password });
    for route in ["/mqtt/auth", "/emqx/auth", "/mosquitto/user"] {
        let request = post_json(route, &body);
        for (header, value) in [
            ("x-mqtt-gate-secret", SECRET),
            ("x-api-key", SECRET),
            ("authorization", &format!("Bearer {SECRET}")),
            // gate:a-secret-of-these-tests
            ("authorization", "Basic Z2F0ZTphLXNlY3JldC1vZi10aGVzZS10ZXN0cw=="),
        ] {
            let response = gate.request(&with_header(&request, header, value)).await;
            assert_eq!(response.status, 200, "{route} {header}");
            assert!(response.text().contains("allow") || response.text().contains("true"), "{}", response.text());
        }
        let one_of_two = with_header(&with_secret(&request, SECRET), "authorization", "Bearer of-a-proxy-in-between");
        assert!(!gate.request(&one_of_two).await.text().contains("deny"));
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_page_needs_no_secret() {
    let gate = gate_with_secret().await;
    assert_eq!(gate.request(&get("/mqtt/auth")).await.status, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_file_rotates_without_a_gap() {
    const OTHER: &str = "another-secret-of-these-tests";
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("secret");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let config = write_config(directory.path(), &format!("[access]\nbroker_secret = {{ file = {file:?} }}"));
    let gate = GateProcess::start(serve_command(&config).args(["--log-level", "trace"])).await;
    let request = Device::valid().request();
    let statuses = async || {
        let mut connection = Connection::open(gate.auth).await;
        let first = connection.request(&with_secret(&request, SECRET)).await.status;
        (first, connection.request(&with_secret(&request, OTHER)).await.status)
    };
    let wait_for = async |expected: (u16, u16)| {
        let changed = async || (statuses().await == expected).then_some(());
        poll_until(&format!("the gate answers {expected:?}"), changed).await;
    };
    assert_eq!(statuses().await, (200, 401));
    fs::write(&file, format!("{OTHER}\n{SECRET}")).unwrap();
    wait_for((200, 200)).await;
    // An invalid secret changes nothing.
    fs::write(&file, "s3cret").unwrap();
    let reload_error = async || {
        let status = Connection::open(gate.admin).await.request(&get("/status")).await.json();
        Some(()).filter(|()| !status["credentials"][0]["reload_error"].is_null())
    };
    poll_until("the reload fails", reload_error).await;
    assert_eq!(statuses().await, (200, 200));
    fs::write(&file, OTHER).unwrap();
    wait_for((401, 200)).await;
    gate.terminate();
    let (_, _, log) = gate.wait_exit().await;
    assert!(!log.contains(SECRET) && !log.contains(OTHER) && !log.contains("s3cret"), "a secret is in the log");
}

/// The policy of this test fails with everything that it can see.
#[tokio::test(flavor = "multi_thread")]
async fn secret_never_reaches_the_policy() {
    let directory = TempDir::new().unwrap();
    let text = format!("policy.file = {MISBEHAVING:?}\naccess.broker_secret = {{ env = \"GATE_SECRET\" }}");
    let config = write_config(directory.path(), &text);
    let mut command = serve_command(&config);
    let gate = GateProcess::start(command.args(["--log-level", "trace"]).env("GATE_SECRET", SECRET)).await;
    let request = with_secret(&Device::triggering("tell me all").request(), SECRET);
    assert_eq!(Connection::open(gate.auth).await.request(&request).await.status, 503);
    let log = gate.stop().await;
    assert!(log.contains("no-verdict") && !log.contains(SECRET), "{log}");
}
