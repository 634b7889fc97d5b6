//! Who may ask: brokers that know the secret, and an operator who has the token.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mqtt_gate::settings::SecretSource;
use serde_json::json;
use tempfile::TempDir;

use crate::support::child::{Running, mqtt_gate, run};
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, MISBEHAVING};

const SECRET: &str = "a-secret-of-these-tests";

/// A request with one header more.
fn with(request: &[u8], header: &str, value: &str) -> Vec<u8> {
    let text = String::from_utf8(request.to_vec()).unwrap();
    text.replacen("\r\n", &format!("\r\n{header}: {value}\r\n"), 1).into_bytes()
}

fn showing(request: &[u8], secret: &str) -> Vec<u8> {
    with(request, "x-mqtt-gate-secret", secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_the_secret_is_refused_as_its_route_refuses() {
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.access.broker_secret = Some(SecretSource::literally(SECRET.into()));
    })
    .await;
    let device = Device::genuine();
    for (route, status, refusal) in [
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
        let request = device.request_to(route);
        for asked in [request.clone(), showing(&request, "a-secret-of-these-testS"), showing(&request, "")] {
            let answer = gate.ask(&asked).await;
            assert!(answer.status == status && answer.text().contains(refusal), "{route}: {answer:?}");
        }
        let status = gate.status().await;
        for kind in ["no-secret", "wrong-secret"] {
            let found = status["misconfigured"].as_array().unwrap().iter();
            let finding = found.into_iter().find(|one| one["route"] == route && one["kind"] == kind);
            let remedy = finding.unwrap_or_else(|| panic!("{route} {kind}: {status}"))["remedy"].as_str().unwrap();
            assert!(remedy.contains("access.broker_secret"), "{remedy}");
        }
    }
    assert_eq!(gate.status().await["calls"], 0);
    for (route, status) in [("/mqtt/auth", 200), ("/emqx/auth", 200), ("/mosquitto/user", 200)] {
        let body = json!({ "clientid": device.client_id, "username": device.username, "password": device.password });
        let answer = gate.ask(&showing(&post_json(route, &body), SECRET)).await;
        assert_eq!(answer.status, status, "{route}");
        assert!(answer.text().contains("allow") || answer.text().contains("true"), "{}", answer.text());
    }
    // What serves is told to people without it.
    assert_eq!(gate.ask(&get("/mqtt/auth")).await.status, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_file_is_changed_without_a_gap() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("secret");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let config = directory.path().join("gate.toml");
    fs::write(&config, format!("[access]\nbroker_secret = {{ file = {file:?} }}")).unwrap();
    let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap(), "--log-level", "trace"]);
    let gate = Running::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await;
    let request = Device::genuine().request();
    let other = "another-secret-of-these-tests";
    let answers = async || {
        let mut connection = Connection::open(gate.logins).await;
        let one = connection.ask(&showing(&request, SECRET)).await.status;
        (one, connection.ask(&showing(&request, other)).await.status)
    };
    assert_eq!(answers().await, (200, 401));
    fs::write(&file, format!("{other}\n{SECRET}")).unwrap();
    gate.until_logged("renewed: the files have changed", 1).await;
    assert_eq!(answers().await, (200, 200));
    // One that is of no use changes nothing.
    fs::write(&file, "s3cret").unwrap();
    gate.until_logged("of no use; what they held before stays in use", 1).await;
    assert_eq!(answers().await, (200, 200));
    fs::write(&file, other).unwrap();
    gate.until_logged("renewed: the files have changed", 2).await;
    assert_eq!(answers().await, (401, 200));
    gate.terminate();
    let (_, _, log) = gate.end().await;
    assert!(!log.contains(SECRET) && !log.contains(other) && !log.contains("s3cret"), "a secret is in the log");
}

/// A policy that tells all that it is told is not told the secret.
#[tokio::test(flavor = "multi_thread")]
async fn the_secret_never_reaches_the_policy() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("gate.toml");
    let text = format!("policy.file = {MISBEHAVING:?}\naccess.broker_secret = {{ env = \"GATE_SECRET\" }}");
    fs::write(&config, text).unwrap();
    let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap(), "--log-level", "trace"]);
    let gate = Running::start(command.env("MQTT_SIGNATURE_KEY", KEY).env("GATE_SECRET", SECRET)).await;
    let request = showing(&Device::causing("tell me all").request(), SECRET);
    assert_eq!(Connection::open(gate.logins).await.ask(&request).await.status, 503);
    gate.terminate();
    let (_, _, log) = gate.end().await;
    assert!(log.contains("told:") && !log.contains(SECRET), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_needs_the_token_for_all_but_the_probes() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("gate.toml");
    fs::write(&config, format!("access.admin_token = {SECRET:?}")).unwrap();
    let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap()]);
    let gate = Running::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await;
    let ask = async |request: &[u8]| Connection::open(gate.admin).await.ask(request).await;
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    for probe in ["/livez", "/readyz"] {
        assert_eq!(ask(&get(probe)).await.status, 200);
    }
    for path in ["/status", "/", "/metrics", "/nowhere", "/livez/"] {
        for shown in
            [None, Some("Bearer a-secret-of-these-testS".to_owned()), Some(basic("admin:x")), Some(SECRET.into())]
        {
            let request = shown.map_or_else(|| get(path), |shown| with(&get(path), "authorization", &shown));
            let answer = ask(&request).await;
            assert_eq!(answer.status, 401, "{path}");
            assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.contains("mqtt-gate")));
        }
    }
    for shown in [
        format!("Bearer {SECRET}"),
        format!("bearer {SECRET}"),
        basic(&format!("me:{SECRET}")),
        basic(&format!(":{SECRET}")),
    ] {
        let answer = ask(&with(&get("/status"), "authorization", &shown)).await;
        assert_eq!((answer.status, &answer.json()["policy"]["generation"]), (200, &json!(1)));
        assert_eq!(ask(&with(&get("/nowhere"), "authorization", &shown)).await.status, 404);
    }
    assert_eq!(Connection::open(gate.logins).await.ask(&Device::genuine().request()).await.status, 200);
    gate.terminate();
    let (code, _, log) = gate.end().await;
    assert_eq!(code, Some(0));
    assert!(log.contains("with a wrong token") && !log.contains(SECRET), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_none_is_an_operators_mistake() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("gate.toml");
    for (text, complaint) in [
        ("broker_secret = \"\"", "access.broker_secret is empty"),
        ("broker_secret = \"s3cret\"", "access.broker_secret must be 16 to 1024"),
        ("admin_token = { env = \"MQTT_GATE_NOT_SET\" }", "MQTT_GATE_NOT_SET is not set"),
        (
            "admin_token = { file = \"/etc/mqtt-gate-nowhere\" }",
            "access.admin_token: cannot read /etc/mqtt-gate-nowhere",
        ),
        ("admin_token = 53", "gate.toml:2: a setting is a string"),
        ("admin_tokn = \"s3cret\"", "unknown field `admin_tokn`"),
    ] {
        fs::write(&config, format!("[access]\n{text}")).unwrap();
        let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        command.args(["--admin-listen", "127.0.0.1:0"]).env("MQTT_SIGNATURE_KEY", KEY);
        let (code, _, error) = run(&mut command).await;
        assert_eq!(code, Some(64), "{error}");
        assert!(error.contains(complaint) && error.lines().count() == 1 && !error.contains("s3cret"), "{error}");
    }
}

/// Who only sits there is sent away for who comes, so that a probe always gets in.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_the_admin_address_keep_no_probe_out() {
    const MOST: usize = 256;
    let gate = Running::start(mqtt_gate(["serve"]).env("MQTT_SIGNATURE_KEY", KEY)).await;
    let mut visitors = Vec::new();
    for _ in 0..MOST + 10 {
        let mut visitor = Connection::open(gate.admin).await;
        assert_eq!(visitor.ask(&get("/livez")).await.status, 200);
        visitors.push(visitor);
    }
    let mut latest = visitors.split_off(visitors.len() - MOST / 2);
    for visitor in &mut visitors[..10] {
        visitor.end().await;
    }
    for visitor in &mut latest {
        assert_eq!(visitor.ask(&get("/livez")).await.status, 200);
    }
    gate.terminate();
    let (code, _, log) = gate.end().await;
    assert!(code == Some(0) && !log.contains("a fault of mqtt-gate"), "{log}");
}
