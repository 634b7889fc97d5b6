//! The manifests: each names what another one has, and the gate that they configure is one that starts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{config, key_file, text, yaml};

const DIRECTORY: &str = "deploy/kubernetes";

fn kustomization() -> Value {
    yaml(&format!("{DIRECTORY}/kustomization.yaml")).remove(0)
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

/// Everything that is applied, by its kind.
fn applied() -> BTreeMap<String, Value> {
    let kustomization = kustomization();
    let files = strings(&kustomization["resources"]);
    let documents = files.iter().flat_map(|file| yaml(&format!("{DIRECTORY}/{file}")));
    let by_kind = documents.map(|document| (document["kind"].as_str().unwrap().to_owned(), document));
    by_kind.collect()
}

fn pod() -> Value {
    applied()["Deployment"]["spec"]["template"]["spec"].clone()
}

fn container() -> Value {
    let pod = pod();
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    pod["containers"][0].clone()
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let mut found = list.as_array().unwrap().iter().filter(|item| item["name"] == name);
    found.next().unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[test]
fn every_manifest_is_of_a_kind_that_kubernetes_has() {
    let kinds: Vec<(String, Value)> =
        applied().into_iter().map(|(kind, document)| (kind, document["apiVersion"].clone())).collect();
    let expected = [
        ("Deployment", "apps/v1"),
        ("HorizontalPodAutoscaler", "autoscaling/v2"),
        ("NetworkPolicy", "networking.k8s.io/v1"),
        ("PodDisruptionBudget", "policy/v1"),
        ("Service", "v1"),
    ];
    assert_eq!(kinds, expected.map(|(kind, version)| (kind.to_owned(), json!(version))));
}

#[test]
fn everything_means_the_pods_of_the_deployment() {
    let applied = applied();
    let deployment = &applied["Deployment"];
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert!(labels.as_object().is_some_and(|labels| !labels.is_empty()));
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&applied["Service"]["spec"]["selector"], labels);
    assert_eq!(&applied["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&applied["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"], labels);
    for spread in pod()["topologySpreadConstraints"].as_array().unwrap() {
        assert_eq!(&spread["labelSelector"]["matchLabels"], labels);
    }
    let target = &applied["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"];
    for member in ["apiVersion", "kind"] {
        assert_eq!(target[member], deployment[member]);
    }
    assert_eq!(target["name"], deployment["metadata"]["name"]);
    // What the autoscaler says must not be undone by the next apply.
    assert!(deployment["spec"]["replicas"].is_null());
    let images = kustomization()["images"].clone();
    assert_eq!(named(&images, container()["image"].as_str().unwrap())["newTag"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn what_is_mounted_is_there_and_follows_its_source() {
    let (pod, container, kustomization) = (pod(), container(), kustomization());
    for mount in container["volumeMounts"].as_array().unwrap() {
        // A file that is mounted by subPath stays what it was when the pod began.
        assert!(mount["subPath"].is_null() && mount["subPathExpr"].is_null(), "{mount}");
        let volume = named(&pod["volumes"], mount["name"].as_str().unwrap());
        if let Some(map) = volume["configMap"]["name"].as_str() {
            named(&kustomization["configMapGenerator"], map);
        }
    }
    let secret = yaml(&format!("{DIRECTORY}/secret.yaml")).remove(0);
    assert_eq!(named(&pod["volumes"], "key")["secret"]["secretName"], secret["metadata"]["name"]);
    // Applied again, it would put nothing in the place of a key.
    assert!(!strings(&kustomization["resources"]).contains(&"secret.yaml"));
    let generated = &kustomization["configMapGenerator"];
    assert_eq!(named(generated, "mqtt-gate-policy")["options"]["disableNameSuffixHash"], true);
    assert!(named(generated, "mqtt-gate-config")["options"].is_null(), "another configuration is another rollout");
}

#[test]
fn the_gate_of_the_pods_reads_what_is_mounted() {
    let (container, kustomization) = (container(), kustomization());
    let mounted = |volume: &str, file: &str| {
        let mount = named(&container["volumeMounts"], volume)["mountPath"].as_str().unwrap();
        format!("{mount}/{file}")
    };
    let files = |map: &str| strings(&named(&kustomization["configMapGenerator"], map)["files"])[0].to_owned();
    assert_eq!(strings(&container["args"]), ["serve", "--config", &mounted("config", &files("mqtt-gate-config"))]);
    let config = config(&format!("{DIRECTORY}/gate.toml"));
    let policy = config.policy.file.as_ref().unwrap().display().to_string();
    assert_eq!(policy, mounted("policy", &files("mqtt-gate-policy")));
    let secret = yaml(&format!("{DIRECTORY}/secret.yaml")).remove(0);
    let key = secret["stringData"].as_object().unwrap().keys().next().unwrap();
    assert_eq!(key_file(&config), mounted("key", key));
    assert_eq!(
        named(&container["env"], "STATE_DIRECTORY")["value"],
        named(&container["volumeMounts"], "state")["mountPath"]
    );
    assert!(text(".gitignore").contains(&format!("/{DIRECTORY}/{}", files("mqtt-gate-policy"))));
}

#[test]
fn the_ports_are_those_that_the_gate_listens_on() {
    let (container, applied) = (container(), applied());
    let config = config(&format!("{DIRECTORY}/gate.toml"));
    for (name, address) in [("logins", config.listen), ("admin", config.admin_listen)] {
        assert_eq!(named(&container["ports"], name)["containerPort"], address.port());
        // The node asks from without.
        assert!(address.ip().is_unspecified());
    }
    for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/livez"), ("startupProbe", "/livez")] {
        assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "admin" }));
    }
    assert_eq!(applied["Service"]["spec"]["ports"][0]["targetPort"], "logins");
    let scraped = &applied["Deployment"]["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"];
    assert_eq!(scraped.as_str(), Some(config.admin_listen.port().to_string().as_str()));
    for (at, port) in [(0, "logins"), (1, "admin")] {
        assert_eq!(applied["NetworkPolicy"]["spec"]["ingress"][at]["ports"][0]["port"], port);
    }
}

#[test]
fn a_pod_may_do_little_and_has_time_to_end() {
    let (pod, container) = (pod(), container());
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(
        (&pod["securityContext"]["runAsNonRoot"], &pod["securityContext"]["runAsUser"]),
        (&json!(true), &json!(65532))
    );
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let expected = json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } });
    assert_eq!(container["securityContext"], expected);
    let seconds = |value: &Value| Duration::from_secs(value.as_u64().unwrap());
    let limits = config(&format!("{DIRECTORY}/gate.toml")).limits;
    let leaving = seconds(&container["lifecycle"]["preStop"]["sleep"]["seconds"]);
    assert!(seconds(&pod["terminationGracePeriodSeconds"]) > leaving + limits.drain);
    assert!(container["resources"]["limits"]["cpu"].is_null(), "a gate that is held back misses its deadline");
}
