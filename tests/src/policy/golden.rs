//! Policies that were built against every version of the contract go on working, beside those of other versions.
//! `proxies::wasmtime` composes them.

use std::fs;
use std::sync::Arc;

use mqtt_gate_engine::{
    Action, AuthorizeRequest, ContractVersion, Credentials, Limits, Permission, Policy, Publication, Sandbox,
    SettingSources, Subscription, validate,
};
use serde_json::Value;

use super::default_policy::assert_component_gives_every_case_its_verdict;
use crate::support::child::{mqtt_gate, run};
use crate::support::credential_cases::GROUPS;
use crate::support::device::{Device, KEY};
use crate::support::golden::GOLDEN;
use crate::support::http::{post, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING, OPERATOR, PLAIN};

fn sandbox() -> Arc<Sandbox> {
    Arc::new(Sandbox::new(Limits::default()).unwrap())
}

fn load(sandbox: &Arc<Sandbox>, component: &str, settings: &[(&str, &str)]) -> Policy {
    let mut sources = SettingSources::default();
    settings.iter().for_each(|(name, value)| sources.set(name, (*value).to_owned()));
    Policy::load(Arc::clone(sandbox), &fs::read(component).unwrap(), Arc::new(sources.read().unwrap())).unwrap()
}

#[test]
fn every_policy_is_called_by_the_contract_that_it_was_built_against() {
    let sandbox = sandbox();
    let kind = |component: &str| {
        let kind = validate(&sandbox, &fs::read(component).unwrap()).unwrap();
        (kind.contract, kind.has_authorizer)
    };
    for golden in GOLDEN {
        assert_eq!(kind(golden.auth_core), (golden.contract, true));
        assert_eq!(kind(golden.lockdown), (golden.contract, false));
    }
    for (component, has_authorizer) in [(AUTH_CORE, true), (LOCKDOWN, false), (MISBEHAVING, true), (PLAIN, false)] {
        assert_eq!(kind(component), (ContractVersion::V0_2, has_authorizer), "{component}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn golden_default_policies_give_every_case_its_verdict() {
    for golden in GOLDEN {
        for groups in GROUPS {
            assert_component_gives_every_case_its_verdict(golden.auth_core, groups).await;
        }
    }
}

#[test]
fn a_golden_default_policy_authorizes_as_the_present_one() {
    let sandbox = sandbox();
    let settings = [("signature-keys", KEY), ("publish-topics", "up/{mac}/#"), ("subscribe-topics", "down/{mac}/#")];
    let present = load(&sandbox, AUTH_CORE, &settings);
    let publish =
        |topic: &str| Action::Publish(Publication { topic: topic.to_owned(), qos: Some(1), retain: Some(true) });
    let subscribe = |filter: &str| Action::Subscribe(Subscription { filter: filter.to_owned(), qos: None });
    let mac = "AA_BB_CC_DD_EE_FF";
    for golden in GOLDEN {
        let policy = load(&sandbox, golden.auth_core, &settings);
        for client_id in [Device::valid().client_id.as_str(), "stranger", ""] {
            let request = AuthorizeRequest {
                client_id: client_id.to_owned(),
                actions: vec![
                    Action::ConnectWithoutProof,
                    publish(&format!("up/{mac}/x")),
                    publish("up/x"),
                    publish(""),
                    subscribe(&format!("down/{mac}/#")),
                    subscribe("#"),
                    subscribe(""),
                ],
                ..AuthorizeRequest::default()
            };
            let permissions = policy.authorize(&request).unwrap();
            assert_eq!(permissions, present.authorize(&request).unwrap(), "{client_id}");
            let may_connect = permissions[0] == Permission::Allow;
            assert_eq!(may_connect, client_id == Device::valid().client_id, "{client_id}");
        }
    }
}

/// A policy of 0.1 has no field for the authentication method. It must not see the method in another place.
#[test]
fn a_policy_of_0_1_is_not_told_what_its_contract_has_no_field_for() {
    let sandbox = sandbox();
    let device = Device::valid();
    let credentials = Credentials {
        client_id: device.client_id,
        username: Some(device.username),
        password: Some(device.password.into_bytes()),
        authentication_method: Some("SCRAM-SHA-256".to_owned()),
        authentication_data: Some(b"data".to_vec()),
        peer_host: None,
        attributes: Vec::new(),
    };
    let verdict = |component| load(&sandbox, component, &[("signature-keys", KEY)]).authenticate(&credentials).unwrap();
    let [new, old] = [GOLDEN[1].auth_core, GOLDEN[0].auth_core].map(verdict);
    assert_eq!(old, new);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_gate_swaps_between_versions_of_the_contract() {
    let [old, new] = GOLDEN;
    let gate = Gate::start(old.auth_core).await;
    assert_eq!(gate.status().await["policy"]["contract"], "0.1");
    let may_log_in = async |device: &Device| gate.authenticate(device).await == 200;
    let (device, operator) = (Device::valid(), Device::unsigned(OPERATOR));
    assert!(may_log_in(&device).await && !may_log_in(&operator).await);
    let steps = [(new.lockdown, "0.2"), (old.lockdown, "0.1"), (new.auth_core, "0.2"), (old.auth_core, "0.1")];
    for (generation, (component, contract)) in (2..).zip(steps) {
        gate.rename_policy(&fs::read(component).unwrap());
        assert_eq!(gate.wait_for_generation(generation).await["policy"]["contract"], contract);
        let is_lockdown = component.ends_with("lockdown.wasm");
        assert_eq!((may_log_in(&device).await, may_log_in(&operator).await), (!is_lockdown, is_lockdown));
        let vhost = format!("username={}&vhost=%2F&client_id={}", device.username, device.client_id);
        let vhost = post("/rabbitmq/vhost", "application/x-www-form-urlencoded", vhost.as_bytes());
        assert_eq!(gate.request(&vhost).await.text(), if is_lockdown { "deny" } else { "allow" });
        let body = device.acl_body("publish", "t");
        assert_eq!(gate.request(&post_json("/emqx/acl", &body)).await.result(), "ignore");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_shows_the_contract() {
    for golden in GOLDEN {
        for component in [golden.auth_core, golden.lockdown] {
            let (code, printed, error) = run(&mut mqtt_gate(["inspect", component, "--json"])).await;
            assert_eq!((code, error.as_str()), (Some(0), ""));
            let report: Value = serde_json::from_str(&printed).unwrap();
            assert_eq!(report["contract"], golden.contract.name());
            assert_eq!(report["rejected_for"], Value::Array(Vec::new()));
            let (_, printed, _) = run(&mut mqtt_gate(["inspect", component])).await;
            assert!(printed.contains(&format!("\ncontract   {}\n", golden.contract)), "{printed}");
        }
    }
}
