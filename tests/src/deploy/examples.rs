//! The examples for other brokers: each asks the gate what the gate understands. RabbitMQ and amqtt are run by theirs, in
//! `rabbitmq.rs` and `amqtt.rs`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::text;
use crate::support::broker::shipped;
use crate::support::device::Device;
use crate::support::http::{post, post_json};
use crate::support::in_process::{AUTH_CORE, Gate};

const UP: &str = "devices/AA_BB_CC_DD_EE_FF/up/x";
const DOWN: &str = "devices/AA_BB_CC_DD_EE_FF/down/#";

async fn gate() -> Gate {
    let set = |config: &mut mqtt_gate::config::Config| {
        config.policy.settings.set("publish-topics", "devices/{mac}/up/#".into());
        config.policy.settings.set("subscribe-topics", "devices/{mac}/down/#".into());
    };
    Gate::start_with(AUTH_CORE, set).await
}

fn stranger() -> Device {
    Device { password: "A".repeat(43) + "=", ..Device::genuine() }
}

/// Nothing that was asked was a mistake.
async fn stop(gate: Gate) {
    let status = gate.status().await;
    assert_eq!((&status["malformed"], &status["misconfigured"]), (&json!(0), &json!([])));
    gate.stop().await;
}

/// The lines of a file, without comments: a name, and what follows it.
fn lines(name: &str, between: char) -> BTreeMap<String, String> {
    let text = shipped(name);
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once(between).unwrap_or_else(|| panic!("{name}: {line}")));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

/// What NanoMQ and rmqtt put in the place of `%c` and its like.
fn fill(template: &Value, device: &Device, access: &str, topic: &str) -> Vec<(String, String)> {
    let value = |placeholder: &str| match placeholder {
        "%c" => device.client_id.clone(),
        "%u" => device.username.clone(),
        "%P" => device.password.clone(),
        "%a" => "127.0.0.1".to_owned(),
        "%A" => access.to_owned(),
        "%t" => topic.to_owned(),
        other => panic!("nobody fills in {other}"),
    };
    let members = template.as_object().unwrap().iter();
    members.map(|(name, placeholder)| (name.clone(), value(placeholder.as_str().unwrap()))).collect()
}

fn path(url: &Value) -> String {
    url.as_str().unwrap().strip_prefix("http://127.0.0.1:8003").unwrap().to_owned()
}

fn form(members: &[(String, String)]) -> Vec<u8> {
    let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let members: Vec<_> = members.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    members.join("&").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn nanomq_asks_as_its_example_says() {
    let gate = gate().await;
    let conf: Value = hocon_rs::Config::parse_str(&shipped("nanomq.conf"), None).unwrap();
    let auth = &conf["auth"]["http_auth"];
    let request = &auth["auth_req"];
    assert_eq!((&request["method"], &request["headers"]["content-type"]), (&json!("POST"), &json!("application/json")));
    assert!(auth["super_req"].is_null());
    for (device, status) in [(Device::genuine(), 200), (stranger(), 401)] {
        let body: Value = fill(&request["params"], &device, "", "").into_iter().map(|(k, v)| (k, json!(v))).collect();
        assert_eq!(gate.ask(&post_json(&path(&request["url"]), &body)).await.status, status);
    }
    stop(gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rmqtt_asks_as_its_example_says() {
    let gate = gate().await;
    let conf: toml::Table = toml::from_str(&shipped("rmqtt-auth-http.toml")).unwrap();
    assert_eq!(conf["deny_if_error"].as_bool(), Some(true), "or else nobody is refused while the gate is away");
    let conf = serde_json::to_value(conf).unwrap();
    let ask = async |request: &Value, device: &Device, access: &str, topic: &str| {
        let kind = request["headers"]["content-type"].as_str().unwrap();
        let body = form(&fill(&request["params"], device, access, topic));
        let answer = gate.ask(&post(&path(&request["url"]), kind, &body)).await;
        assert_eq!(answer.status, 200);
        answer.result()
    };
    let (login, action) = (&conf["http_auth_req"], &conf["http_acl_req"]);
    assert_eq!(ask(login, &Device::genuine(), "", "").await, "allow");
    assert_eq!(ask(login, &stranger(), "", "").await, "deny");
    for (access, topic, result) in [("1", DOWN, "allow"), ("2", UP, "allow"), ("1", UP, "deny"), ("2", "x", "deny")] {
        assert_eq!(ask(action, &Device::genuine(), access, topic).await, result, "{access} {topic}");
    }
    stop(gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_asks_as_its_example_says() {
    let gate = gate().await;
    let conf = lines("mosquitto.conf", ' ');
    let option = |name: &str| conf[&format!("auth_opt_http_{name}")].as_str();
    assert_eq!((option("host"), option("port")), ("127.0.0.1", "8003"));
    assert_eq!((option("params_mode"), option("response_mode")), ("json", "status"));
    assert_eq!(conf["allow_anonymous"], "false");
    let device = Device::genuine();
    let ask = async |uri: &str, more: Value| {
        let mut body = json!({ "username": device.username, "clientid": device.client_id });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        gate.ask(&post_json(option(uri), &body)).await.status
    };
    assert_eq!(ask("getuser_uri", json!({ "password": device.password })).await, 200);
    assert_eq!(ask("getuser_uri", json!({ "password": stranger().password })).await, 401);
    assert_eq!(ask("superuser_uri", json!({})).await, 401);
    assert_eq!(ask("aclcheck_uri", json!({ "topic": UP, "acc": 2 })).await, 200);
    assert_eq!(ask("aclcheck_uri", json!({ "topic": UP, "acc": 4 })).await, 401);
    stop(gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vernemq_asks_as_its_example_says() {
    let gate = gate().await;
    let conf = lines("vernemq.conf", '=');
    for (name, value) in [("allow_anonymous", "off"), ("plugins.vmq_passwd", "off"), ("plugins.vmq_acl", "off")] {
        assert_eq!(conf[name], value);
    }
    let mut hooks = 0;
    for (name, hook) in conf.iter().filter(|(name, _)| name.ends_with(".hook")) {
        hooks += 1;
        let endpoint = json!(conf[&name.replace(".hook", ".endpoint")]);
        // Topics are asked about without a password: there a stranger is who asks for another topic.
        for (device, topic, filter) in [(Device::genuine(), UP, DOWN), (stranger(), "x", "x")] {
            let body = json!({ "client_id": device.client_id, "username": device.username, "password": device.password,
                "peer_addr": "127.0.0.1", "mountpoint": "", "topic": topic, "qos": 1, "retain": false,
                "topics": [{ "topic": filter, "qos": 1 }] });
            let request = String::from_utf8(post_json(&path(&endpoint), &body)).unwrap();
            let request = request.replacen("host: gate", &format!("host: gate\r\nvernemq-hook: {hook}"), 1);
            let result = gate.ask(request.as_bytes()).await.json()["result"].clone();
            assert_eq!(result == json!("ok"), topic == UP, "{hook}: {result}");
        }
    }
    assert_eq!(hooks, 6);
    stop(gate).await;
}

/// What a page shows within its blocks of code.
fn blocks(section: &str) -> Vec<String> {
    let text = text("docs/BROKERS.md");
    let section = text.split("\n## ").find(|part| part.starts_with(section)).unwrap();
    let within = section.split("```").skip(1).step_by(2);
    within.map(|block| block.split_once('\n').unwrap().1.to_owned()).collect()
}

#[test]
fn what_the_page_on_brokers_shows_is_what_the_examples_say() {
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
        let example: Vec<String> = shipped(name).lines().map(words).collect();
        let shown = blocks(section).concat();
        for line in shown.lines() {
            assert!(example.contains(&words(line)), "{name}: {line}");
        }
    }
    let nanomq = |text: &str| -> Value { hocon_rs::Config::parse_str(text, None).unwrap() };
    assert_eq!(nanomq(&blocks("NanoMQ")[0]), nanomq(&shipped("nanomq.conf")));
}
