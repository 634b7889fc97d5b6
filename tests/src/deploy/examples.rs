//! The configurations of other brokers: the gate understands their requests. RabbitMQ and amqtt run with theirs, in
//! `brokers::external`.

use std::collections::BTreeMap;

use brokers::BrokerKind;
use mqtt_gate::config::BrokerConfig;
use serde_json::{Value, json};

use super::text;
use crate::support::broker::example_config;
use crate::support::device::Device;
use crate::support::http::{post, post_json};
use crate::support::in_process::{AUTH_CORE, Gate};

const UP: &str = "devices/AA_BB_CC_DD_EE_FF/up/x";
const DOWN: &str = "devices/AA_BB_CC_DD_EE_FF/down/#";

async fn gate() -> Gate {
    gate_for(Vec::new()).await
}

/// A gate that brokers of these kinds ask.
async fn gate_for(kinds: Vec<BrokerKind>) -> Gate {
    let set = |config: &mut mqtt_gate::config::Config| {
        config.broker = kinds.into_iter().map(BrokerConfig::of_kind).collect();
        config.policy.first.settings.set("publish-topics", "devices/{mac}/up/#".into());
        config.policy.first.settings.set("subscribe-topics", "devices/{mac}/down/#".into());
    };
    Gate::start_with(AUTH_CORE, set).await
}

/// Asserts that no request was malformed or suspicious, and stops the gate.
async fn assert_no_warnings_and_stop(gate: Gate) {
    let status = gate.status().await;
    assert_eq!((&status["malformed_requests"], &status["config_warnings"]), (&json!(0), &json!([])));
    gate.stop().await;
}

/// The entries of a configuration, split at the separator, without comments.
fn entries(name: &str, separator: char) -> BTreeMap<String, String> {
    let text = example_config(name);
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once(separator).unwrap_or_else(|| panic!("{name}: {line}")));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

/// The fields that NanoMQ and rmqtt make from a template with placeholders such as `%c`.
fn fill_template(template: &Value, device: &Device, access: &str, topic: &str) -> Vec<(String, String)> {
    let value = |placeholder: &str| match placeholder {
        "%c" => device.client_id.clone(),
        "%u" => device.username.clone(),
        "%P" => device.password.clone(),
        "%a" => "127.0.0.1".to_owned(),
        "%A" => access.to_owned(),
        "%t" => topic.to_owned(),
        other => panic!("unknown placeholder {other}"),
    };
    let fields = template.as_object().unwrap().iter();
    fields.map(|(name, placeholder)| (name.clone(), value(placeholder.as_str().unwrap()))).collect()
}

fn path(url: &Value) -> String {
    url.as_str().unwrap().strip_prefix("http://127.0.0.1:8003").unwrap().to_owned()
}

fn form(fields: &[(String, String)]) -> Vec<u8> {
    let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    fields.join("&").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn gate_understands_the_requests_of_the_nanomq_example() {
    let gate = gate().await;
    let conf: Value = hocon_rs::Config::parse_str(&example_config("nanomq.conf"), None).unwrap();
    let auth = &conf["auth"]["http_auth"];
    let request = &auth["auth_req"];
    assert_eq!((&request["method"], &request["headers"]["content-type"]), (&json!("POST"), &json!("application/json")));
    assert!(auth["super_req"].is_null());
    for (device, status) in [(Device::valid(), 200), (Device::forged(), 401)] {
        let body: Value =
            fill_template(&request["params"], &device, "", "").into_iter().map(|(k, v)| (k, json!(v))).collect();
        assert_eq!(gate.request(&post_json(&path(&request["url"]), &body)).await.status, status);
    }
    assert_no_warnings_and_stop(gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gate_understands_the_requests_of_the_rmqtt_example() {
    // The example says so: without it the gate warns that this may be EMQX 4.
    assert!(example_config("rmqtt-auth-http.toml").contains("kind = \"rmqtt\""));
    let gate = gate_for(vec![BrokerKind::Rmqtt]).await;
    let conf: toml::Table = toml::from_str(&example_config("rmqtt-auth-http.toml")).unwrap();
    assert_eq!(
        conf["deny_if_error"].as_bool(),
        Some(true),
        "rmqtt would allow every client while the gate is unreachable"
    );
    let conf = serde_json::to_value(conf).unwrap();
    let send = async |request: &Value, device: &Device, access: &str, topic: &str| {
        let kind = request["headers"]["content-type"].as_str().unwrap();
        let body = form(&fill_template(&request["params"], device, access, topic));
        let response = gate.request(&post(&path(&request["url"]), kind, &body)).await;
        assert_eq!(response.status, 200);
        response.result()
    };
    let (login, action) = (&conf["http_auth_req"], &conf["http_acl_req"]);
    assert_eq!(send(login, &Device::valid(), "", "").await, "allow");
    assert_eq!(send(login, &Device::forged(), "", "").await, "deny");
    for (access, topic, result) in [("1", DOWN, "allow"), ("2", UP, "allow"), ("1", UP, "deny"), ("2", "x", "deny")] {
        assert_eq!(send(action, &Device::valid(), access, topic).await, result, "{access} {topic}");
    }
    assert_no_warnings_and_stop(gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gate_understands_the_requests_of_the_mosquitto_example() {
    let gate = gate().await;
    let conf = entries("mosquitto.conf", ' ');
    let option = |name: &str| conf[&format!("auth_opt_http_{name}")].as_str();
    assert_eq!((option("host"), option("port")), ("127.0.0.1", "8003"));
    assert_eq!((option("params_mode"), option("response_mode")), ("json", "status"));
    assert_eq!(conf["allow_anonymous"], "false");
    let device = Device::valid();
    let send = async |uri: &str, fields: Value| {
        let mut body = json!({ "username": device.username, "clientid": device.client_id });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        gate.request(&post_json(option(uri), &body)).await.status
    };
    assert_eq!(send("getuser_uri", json!({ "password": device.password })).await, 200);
    assert_eq!(send("getuser_uri", json!({ "password": Device::forged().password })).await, 401);
    assert_eq!(send("superuser_uri", json!({})).await, 401);
    assert_eq!(send("aclcheck_uri", json!({ "topic": UP, "acc": 2 })).await, 200);
    assert_eq!(send("aclcheck_uri", json!({ "topic": UP, "acc": 4 })).await, 401);
    assert_no_warnings_and_stop(gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gate_understands_the_requests_of_the_vernemq_example() {
    let gate = gate().await;
    let conf = entries("vernemq.conf", '=');
    for (name, value) in [("allow_anonymous", "off"), ("plugins.vmq_passwd", "off"), ("plugins.vmq_acl", "off")] {
        assert_eq!(conf[name], value);
    }
    let mut hooks = 0;
    for (name, hook) in conf.iter().filter(|(name, _)| name.ends_with(".hook")) {
        hooks += 1;
        let endpoint = json!(conf[&name.replace(".hook", ".endpoint")]);
        // Topic hooks have no password: there the second device is denied for its topic.
        for (device, topic, filter) in [(Device::valid(), UP, DOWN), (Device::forged(), "x", "x")] {
            let body = json!({ "client_id": device.client_id, "username": device.username, "password": device.password,
                "peer_addr": "127.0.0.1", "mountpoint": "", "topic": topic, "qos": 1, "retain": false,
                "topics": [{ "topic": filter, "qos": 1 }] });
            let request = String::from_utf8(post_json(&path(&endpoint), &body)).unwrap();
            let request = request.replacen("host: gate", &format!("host: gate\r\nvernemq-hook: {hook}"), 1);
            let result = gate.request(request.as_bytes()).await.json()["result"].clone();
            assert_eq!(result == json!("ok"), topic == UP, "{hook}: {result}");
        }
    }
    assert_eq!(hooks, 6);
    assert_no_warnings_and_stop(gate).await;
}

/// The code blocks of a section of docs/BROKERS.md.
fn code_blocks(section: &str) -> Vec<String> {
    let text = text("docs/BROKERS.md");
    let section = text.split("\n## ").find(|part| part.starts_with(section)).unwrap();
    let blocks = section.split("```").skip(1).step_by(2);
    blocks.map(|block| block.split_once('\n').unwrap().1.to_owned()).collect()
}

#[test]
fn documentation_of_brokers_shows_lines_of_the_examples() {
    let words = |line: &str| {
        let line = line.split(" #").next().unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (section, name) in [
        ("RabbitMQ", "rabbitmq.conf"),
        ("rmqtt", "rmqtt-auth-http.toml"),
        ("mosquitto", "mosquitto.conf"),
        ("VerneMQ", "vernemq.conf"),
    ] {
        let example: Vec<String> = example_config(name).lines().map(words).collect();
        let shown = code_blocks(section).concat();
        for line in shown.lines() {
            assert!(example.contains(&words(line)), "{name}: {line}");
        }
    }
    let nanomq = |text: &str| -> Value { hocon_rs::Config::parse_str(text, None).unwrap() };
    assert_eq!(nanomq(&code_blocks("NanoMQ")[0]), nanomq(&example_config("nanomq.conf")));
}
