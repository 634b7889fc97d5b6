//! The configurations of EMQX, parsed as EMQX parses them: the gate understands their requests.

use std::fs;

use hocon_rs::Config;
use serde_json::{Map, Value, json};

use crate::support::device::{Device, KEY};
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

/// An environment variable of the EMQX container. Compose turns `$$` into `$`.
fn emqx_variable(name: &str) -> Value {
    let text = compose()["services"]["emqx"]["environment"][name].as_str().unwrap().replace("$$", "$");
    assert!(!text.contains('\n'), "{name} is one line");
    hocon(&format!("value = {text}"))["value"].clone()
}

/// The body that EMQX makes from a template.
fn fill_template(template: &Value, device: &Device, action: &str, topic: &str) -> Value {
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
    let fields =
        template.as_object().unwrap().iter().map(|(name, placeholder)| (name.clone(), json!(value(placeholder))));
    Value::Object(fields.collect::<Map<_, _>>())
}

#[test]
fn both_configurations_differ_only_in_the_address_of_the_gate() {
    let without_host = |request: &Value| {
        let mut request = request.clone();
        let url = request["url"].as_str().unwrap().to_owned();
        let path = url.strip_prefix("http://127.0.0.1:8003").or_else(|| url.strip_prefix("http://gate:8003"));
        request["url"] = json!(path.unwrap_or_else(|| panic!("not the address of the gate: {url}")));
        request
    };
    let conf = emqx_conf();
    assert_eq!(without_host(&conf["authentication"][0]), without_host(&emqx_variable("EMQX_AUTHENTICATION")[0]));
    assert_eq!(
        without_host(&conf["authorization"]["sources"][0]),
        without_host(&emqx_variable("EMQX_AUTHORIZATION__SOURCES")[0])
    );
    assert_eq!(conf["authorization"]["no_match"], "deny");
    let environment = compose()["services"]["emqx"]["environment"].clone();
    assert_eq!(environment["EMQX_AUTHORIZATION__NO_MATCH"], "deny");
    // Only one authenticator and one source: EMQX would use a second one while the gate is unreachable.
    assert_eq!(conf["authentication"].as_array().map(Vec::len), Some(1));
    assert_eq!(conf["authorization"]["sources"].as_array().map(Vec::len), Some(1));
    // With a charset EMQX sends no body.
    for request in [&conf["authentication"][0], &conf["authorization"]["sources"][0]] {
        assert_eq!(request["headers"]["content-type"], "application/json");
    }
    // EMQX does not start with a key that it does not know.
    assert!(conf["mqtt"]["max_keepalive"].is_null() && conf["node"]["cookie"].is_string());
}

#[test]
fn node_caches_of_emqx_are_off() {
    // EMQX 5.8 does not start with a key of the authorization cache in its main file, and ignores an unknown variable.
    let conf = emqx_conf();
    assert_eq!(conf["authentication_settings"]["node_cache"]["enable"], false);
    assert!(conf["authorization"]["node_cache"].is_null());
    let text = fs::read_to_string(format!("{DEPLOY}/emqx.conf")).unwrap();
    assert_eq!(text.lines().last(), Some("include \"emqx-6.conf\""), "a later line would be overridden");
    let included = hocon(&fs::read_to_string(format!("{DEPLOY}/emqx-6.conf")).unwrap());
    assert_eq!(included, json!({ "authorization": { "node_cache": { "enable": false } } }));
    let environment = compose()["services"]["emqx"]["environment"].clone();
    for section in ["AUTHENTICATION_SETTINGS", "AUTHORIZATION"] {
        assert_eq!(environment[format!("EMQX_{section}__NODE_CACHE__ENABLE")], "false");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gate_understands_the_requests_of_the_shipped_emqx() {
    let gate_toml = compose()["configs"]["gate"]["content"].as_str().unwrap().to_owned();
    let gate = Gate::start_with(AUTH_CORE, |config| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gate.toml");
        fs::write(&file, &gate_toml).unwrap();
        let shipped = mqtt_gate::config::Config::read(&file).unwrap();
        config.policy.first.settings = shipped.policy.first.settings;
        config.policy.first.settings.set("signature-keys", KEY.to_owned());
    })
    .await;
    let conf = emqx_conf();
    let path = |request: &Value| request["url"].as_str().unwrap().replace("http://127.0.0.1:8003", "");
    let (login, action) = (&conf["authentication"][0], &conf["authorization"]["sources"][0]);
    for (device, result) in [(Device::valid(), "allow"), (Device::unsigned("x"), "deny")] {
        let response = gate.request(&post_json(&path(login), &fill_template(&login["body"], &device, "", ""))).await;
        assert_eq!((response.status, response.result().as_str()), (200, result));
    }
    for (name, topic, result) in [
        ("publish", "devices/AA_BB_CC_DD_EE_FF/up/x", "allow"),
        ("subscribe", "devices/AA_BB_CC_DD_EE_FF/down/#", "allow"),
        ("publish", "devices/00_00_00_00_00_00/up/x", "deny"),
    ] {
        let body = fill_template(&action["body"], &Device::valid(), name, topic);
        let response = gate.request(&post_json(&path(action), &body)).await;
        assert_eq!((response.status, response.result().as_str()), (200, result), "{name} {topic}");
    }
    assert_eq!(gate.status().await["config_warnings"], json!([]));
    gate.stop().await;
}
