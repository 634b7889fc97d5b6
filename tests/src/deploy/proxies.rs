//! The configurations of Spin, wasmCloud and Istio, as far as they can be checked without those programs.

use serde_json::{Value, json};

use super::text;
use crate::support::composition::Composition;
use crate::support::envoy::{Bootstrap, MQTT};
use crate::support::http::{Connection, get};
use crate::support::in_process::AUTH_CORE;
use crate::support::wasi_http::WasiHttp;

#[tokio::test(flavor = "multi_thread")]
async fn spin_manifest_has_valid_settings_of_the_policy() {
    let text = text("deploy/spin.toml");
    let manifest: Value = toml::from_str(&text).unwrap();
    assert!(text.contains("NOT RUN") && manifest["spin_manifest_version"] == 2);
    let trigger = &manifest["trigger"]["http"][0];
    assert_eq!((&trigger["route"], &trigger["component"]), (&json!("/..."), &json!("gate")));
    let component = &manifest["component"]["gate"];
    assert_eq!(component["allowed_outbound_hosts"], json!([]));
    let variables = component["environment"].as_object().unwrap();
    assert!(variables.keys().all(|variable| variable.starts_with("MQTT_GATE_")));
    let settings: Vec<_> =
        variables.iter().map(|(name, value)| (setting_name(name), value.as_str().unwrap())).collect();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let composition = Composition::with_settings_from_env(AUTH_CORE).await;
    let host = WasiHttp::start(composition.path(), &settings).await;
    let page = Connection::open(host.address).await.request(&get("/mqtt/auth")).await;
    assert_eq!(page.status, 200, "{}", page.text());
}

/// The setting of an environment variable.
fn setting_name(variable: &str) -> String {
    variable.trim_start_matches("MQTT_GATE_").to_ascii_lowercase().replace('_', "-")
}

#[test]
fn wasmcloud_manifest_names_the_imports_of_a_composition() {
    let text = text("deploy/wasmcloud.yaml");
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
    // The key comes from a secret and is not in the file.
    assert_eq!(environment["config"].as_object().unwrap().keys().collect::<Vec<_>>(), ["groups"]);
    assert_eq!(environment["secretFrom"], json!([{ "name": "mqtt-gate" }]));
}

#[test]
fn istio_example_configures_the_filter_like_the_envoy_example() {
    let istio: Value = serde_saphyr::from_str(&text("deploy/istio-envoyfilter.yaml")).unwrap();
    let patches = istio["spec"]["configPatches"].as_array().unwrap();
    let filter = &patches[0]["patch"]["value"]["typed_config"]["config"];
    let mut plugin: Value = serde_json::from_str(filter["configuration"]["value"].as_str().unwrap()).unwrap();
    plugin["cluster"] = "broker".into();
    Bootstrap::shipped().change(MQTT, |shipped| assert_eq!(*shipped, plugin));
    let proxy = &patches[1]["patch"]["value"]["typed_config"];
    assert_eq!((&proxy["cluster"], &proxy["max_early_data_bytes"]), (&"refusals".into(), &65_536.into()));
    assert_eq!(filter["failure_policy"], "FAIL_RELOAD");
}
