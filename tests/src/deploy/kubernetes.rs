//! The Kubernetes manifests: they fit each other, and the configuration of the gate.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{gate_config, key_file, text, yaml};

const DIRECTORY: &str = "deploy/kubernetes";

fn kustomization() -> Value {
    yaml(&format!("{DIRECTORY}/kustomization.yaml")).remove(0)
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

/// The applied documents by kind.
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
fn manifests_have_current_api_versions() {
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
fn policy_for_the_api_of_emqx_opens_only_emqx_and_the_dns_server() {
    let policy = yaml(&format!("{DIRECTORY}/broker-api.yaml")).remove(0);
    assert_eq!(policy["spec"]["podSelector"], applied()["NetworkPolicy"]["spec"]["podSelector"]);
    assert_eq!(policy["spec"]["policyTypes"], json!(["Egress"]));
    let ports: Vec<_> =
        policy["spec"]["egress"].as_array().unwrap().iter().map(|rule| &rule["ports"][0]["port"]).collect();
    assert_eq!(ports, [&json!(18083), &json!(53)]);
    assert!(!strings(&kustomization()["resources"]).contains(&"broker-api.yaml"), "the default opens nothing");
}

#[test]
fn selectors_match_the_pods_of_the_deployment() {
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
    for field in ["apiVersion", "kind"] {
        assert_eq!(target[field], deployment[field]);
    }
    assert_eq!(target["name"], deployment["metadata"]["name"]);
    // The next apply must not undo the replicas that the autoscaler has set.
    assert!(deployment["spec"]["replicas"].is_null());
    let images = kustomization()["images"].clone();
    assert_eq!(named(&images, container()["image"].as_str().unwrap())["newTag"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn mounted_volumes_exist_and_receive_updates() {
    let (pod, container, kustomization) = (pod(), container(), kustomization());
    for mount in container["volumeMounts"].as_array().unwrap() {
        // Kubernetes does not update files that are mounted by subPath.
        assert!(mount["subPath"].is_null() && mount["subPathExpr"].is_null(), "{mount}");
        let volume = named(&pod["volumes"], mount["name"].as_str().unwrap());
        if let Some(map) = volume["configMap"]["name"].as_str() {
            named(&kustomization["configMapGenerator"], map);
        }
    }
    let secret = yaml(&format!("{DIRECTORY}/secret.yaml")).remove(0);
    assert_eq!(named(&pod["volumes"], "key")["secret"]["secretName"], secret["metadata"]["name"]);
    // Applying the example secret again would overwrite the key.
    assert!(!strings(&kustomization["resources"]).contains(&"secret.yaml"));
    let generated = &kustomization["configMapGenerator"];
    assert_eq!(named(generated, "mqtt-gate-policy")["options"]["disableNameSuffixHash"], true);
    assert!(named(generated, "mqtt-gate-config")["options"].is_null(), "a changed configuration starts a rollout");
}

#[test]
fn gate_reads_the_mounted_files() {
    let (container, kustomization) = (container(), kustomization());
    let mounted = |volume: &str, file: &str| {
        let mount = named(&container["volumeMounts"], volume)["mountPath"].as_str().unwrap();
        format!("{mount}/{file}")
    };
    let files = |map: &str| strings(&named(&kustomization["configMapGenerator"], map)["files"])[0].to_owned();
    assert_eq!(strings(&container["args"]), ["serve", "--config", &mounted("config", &files("mqtt-gate-config"))]);
    let config = gate_config(&format!("{DIRECTORY}/gate.toml"));
    let policy = config.policy.first.file.as_ref().unwrap().display().to_string();
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
fn ports_match_the_addresses_of_the_gate() {
    let (container, applied) = (container(), applied());
    let config = gate_config(&format!("{DIRECTORY}/gate.toml"));
    for (name, address) in [("logins", config.listen.iter().next().unwrap()), ("admin", config.admin_listen)] {
        assert_eq!(named(&container["ports"], name)["containerPort"], address.port());
        // The kubelet probes from outside the container.
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
fn pods_are_restricted_and_have_time_to_drain() {
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
    let limits = gate_config(&format!("{DIRECTORY}/gate.toml")).limits;
    let pre_stop = seconds(&container["lifecycle"]["preStop"]["sleep"]["seconds"]);
    assert!(seconds(&pod["terminationGracePeriodSeconds"]) > pre_stop + limits.drain_timeout);
    assert!(container["resources"]["limits"]["cpu"].is_null(), "CPU throttling would cause policy timeouts");
}
