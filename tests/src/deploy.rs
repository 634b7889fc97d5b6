//! What lies in `deploy/` is read as those read it for whom it is, and says what the gate and its policies understand.

use std::fs;

use hocon_rs::Config;
use serde_json::{Map, Value, json};

use crate::composition::Composition;
use crate::device::Device;
use crate::envoy::{Bootstrap, MQTT};
use crate::gate::{AUTH_CORE, Gate};
use crate::http::{Connection, get, post_json};
use crate::wasi_http::WasiHttp;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

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
        config.policy.settings.set("signature-keys", crate::device::KEY.to_owned());
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

/// As far as it can be said without Spin: the settings that the component gets are those of the policy that it holds.
#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_for_spin_gives_the_policy_settings_that_it_takes() {
    let text = fs::read_to_string(format!("{DEPLOY}/spin.toml")).unwrap();
    let manifest: Value = toml::from_str(&text).unwrap();
    assert!(text.contains("NOT RUN") && manifest["spin_manifest_version"] == 2);
    let trigger = &manifest["trigger"]["http"][0];
    assert_eq!((&trigger["route"], &trigger["component"]), (&json!("/..."), &json!("gate")));
    let component = &manifest["component"]["gate"];
    assert_eq!(component["allowed_outbound_hosts"], json!([]));
    let variables = component["environment"].as_object().unwrap();
    assert!(variables.keys().all(|variable| variable.starts_with("MQTT_GATE_")));
    let settings: Vec<_> = variables.iter().map(|(name, value)| (setting(name), value.as_str().unwrap())).collect();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let composition = Composition::with_settings_from_env(AUTH_CORE).await;
    let host = WasiHttp::start(composition.path(), &settings).await;
    let look = Connection::open(host.address).await.ask(&get("/mqtt/auth")).await;
    assert_eq!(look.status, 200, "{}", look.text());
}

/// The setting that a variable stands for.
fn setting(variable: &str) -> String {
    variable.trim_start_matches("MQTT_GATE_").to_ascii_lowercase().replace('_', "-")
}

#[test]
fn the_manifest_for_wasmcloud_names_what_a_composition_imports() {
    let text = fs::read_to_string(format!("{DEPLOY}/wasmcloud.yaml")).unwrap();
    let manifest: Value = serde_saphyr::from_str(&text).unwrap();
    assert!(text.contains("NOT RUN") && manifest["kind"] == "WorkloadDeployment");
    let workload = &manifest["spec"]["template"]["spec"];
    let interface = |interface: &Value| {
        let text = |name: &str| interface[name].as_str().unwrap_or_default().to_owned();
        format!(
            "{}:{}/{}@{}",
            text("namespace"),
            text("package"),
            interface["interfaces"][0].as_str().unwrap(),
            text("version")
        )
    };
    let interfaces: Vec<_> = workload["hostInterfaces"].as_array().unwrap().iter().map(interface).collect();
    assert_eq!(interfaces, ["wasi:http/incoming-handler@", "wasi:config/store@0.2.0-rc.1"]);
    let environment = &workload["components"][0]["localResources"]["environment"];
    // The key is in a secret, and not in the file.
    assert_eq!(environment["config"].as_object().unwrap().keys().collect::<Vec<_>>(), ["groups"]);
    assert_eq!(environment["secretFrom"], json!([{ "name": "mqtt-gate" }]));
}

#[test]
fn the_example_for_istio_configures_the_filter_as_the_shipped_file_does() {
    let istio = include_str!("../../deploy/istio-envoyfilter.yaml");
    let istio: Value = serde_saphyr::from_str(istio).unwrap();
    let patches = istio["spec"]["configPatches"].as_array().unwrap();
    let filter = &patches[0]["patch"]["value"]["typed_config"]["config"];
    let mut plugin: Value = serde_json::from_str(filter["configuration"]["value"].as_str().unwrap()).unwrap();
    plugin["cluster"] = "broker".into();
    Bootstrap::unchanged().change(MQTT, |shipped| assert_eq!(*shipped, plugin));
    let proxy = &patches[1]["patch"]["value"]["typed_config"];
    assert_eq!((&proxy["cluster"], &proxy["max_early_data_bytes"]), (&"refusals".into(), &65_536.into()));
    assert_eq!(filter["failure_policy"], "FAIL_RELOAD");
}
