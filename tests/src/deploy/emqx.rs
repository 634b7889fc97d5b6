//! What lies in `deploy/` for EMQX is read as EMQX reads it, and asks what the gate understands.

use std::fs;

use hocon_rs::Config;
use serde_json::{Map, Value, json};

use crate::support::device::Device;
use crate::support::http::post_json;
use crate::support::in_process::{AUTH_CORE, Gate};

use super::DEPLOY;

fn hocon(text: &str) -> Value {
    Config::parse_str(text, None).unwrap()
}

fn emqx_conf() -> Value {
    hocon(&fs::read_to_string(format!("{DEPLOY}/emqx.conf")).unwrap())
}

fn compose() -> Value {
    serde_saphyr::from_str(&fs::read_to_string(format!("{DEPLOY}/compose.yaml")).unwrap()).unwrap()
}

/// A variable that EMQX is given, as it finds it: Compose takes one of two dollar signs.
fn variable(name: &str) -> Value {
    let text = compose()["services"]["emqx"]["environment"][name].as_str().unwrap().replace("$$", "$");
    assert!(!text.contains('\n'), "{name} is one line");
    hocon(&format!("value = {text}"))["value"].clone()
}

/// What EMQX sends for this device by a template.
fn fill(template: &Value, device: &Device, action: &str, topic: &str) -> Value {
    let known = [
        ("clientid", device.client_id.as_str()),
        ("username", &device.username),
        ("password", &device.password),
        ("peerhost", "127.0.0.1"),
        ("topic", topic),
        ("action", action),
        ("qos", "1"),
        ("retain", "false"),
    ];
    let value = |placeholder: &Value| {
        let name = placeholder.as_str().unwrap().trim_start_matches("${").trim_end_matches('}');
        known.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("EMQX does not know {name}")).1
    };
    let members =
        template.as_object().unwrap().iter().map(|(name, placeholder)| (name.clone(), json!(value(placeholder))));
    Value::Object(members.collect::<Map<_, _>>())
}

#[test]
fn both_files_say_the_same_but_for_the_address_of_the_gate() {
    let same = |of: &Value| {
        let mut of = of.clone();
        let url = of["url"].as_str().unwrap().to_owned();
        let path = url.strip_prefix("http://127.0.0.1:8003").or_else(|| url.strip_prefix("http://gate:8003"));
        of["url"] = json!(path.unwrap_or_else(|| panic!("the gate's address: {url}")));
        of
    };
    let conf = emqx_conf();
    assert_eq!(same(&conf["authentication"][0]), same(&variable("EMQX_AUTHENTICATION")[0]));
    assert_eq!(same(&conf["authorization"]["sources"][0]), same(&variable("EMQX_AUTHORIZATION__SOURCES")[0]));
    assert_eq!(conf["authorization"]["no_match"], "deny");
    let environment = compose()["services"]["emqx"]["environment"].clone();
    assert_eq!(environment["EMQX_AUTHORIZATION__NO_MATCH"], "deny");
    // One authenticator and one source: EMQX asks the next one where the gate cannot be asked.
    assert_eq!(conf["authentication"].as_array().map(Vec::len), Some(1));
    assert_eq!(conf["authorization"]["sources"].as_array().map(Vec::len), Some(1));
    // With a charset EMQX sends nothing at all; and what it does not know keeps it from starting.
    for request in [&conf["authentication"][0], &conf["authorization"]["sources"][0]] {
        assert_eq!(request["headers"]["content-type"], "application/json");
    }
    assert!(conf["mqtt"]["max_keepalive"].is_null() && conf["node"]["cookie"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_of_the_composition_understands_what_its_emqx_asks() {
    let gate_toml = compose()["configs"]["gate"]["content"].as_str().unwrap().to_owned();
    let gate = Gate::start_with(AUTH_CORE, |config| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gate.toml");
        fs::write(&file, &gate_toml).unwrap();
        let shipped = mqtt_gate::config::Config::read(&file).unwrap();
        config.policy.settings = shipped.policy.settings;
        config.policy.settings.set("signature-keys", crate::support::device::KEY.to_owned());
    })
    .await;
    let conf = emqx_conf();
    let path = |of: &Value| of["url"].as_str().unwrap().replace("http://127.0.0.1:8003", "");
    let (login, action) = (&conf["authentication"][0], &conf["authorization"]["sources"][0]);
    for (device, result) in [(Device::genuine(), "allow"), (Device::named("x"), "deny")] {
        let answer = gate.ask(&post_json(&path(login), &fill(&login["body"], &device, "", ""))).await;
        assert_eq!((answer.status, answer.result().as_str()), (200, result));
    }
    for (what, topic, result) in [
        ("publish", "devices/AA_BB_CC_DD_EE_FF/up/x", "allow"),
        ("subscribe", "devices/AA_BB_CC_DD_EE_FF/down/#", "allow"),
        ("publish", "devices/00_00_00_00_00_00/up/x", "deny"),
    ] {
        let asked = fill(&action["body"], &Device::genuine(), what, topic);
        let answer = gate.ask(&post_json(&path(action), &asked)).await;
        assert_eq!((answer.status, answer.result().as_str()), (200, result), "{what} {topic}");
    }
    assert_eq!(gate.status().await["misconfigured"], json!([]));
    gate.stop().await;
}
