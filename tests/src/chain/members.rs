//! The first verdict that is not *ignore* counts; a fault refuses the client.

use std::fs;
use std::path::Path;

use mqtt_gate::config::{Config, PolicyChain};
use serde_json::json;

use crate::support::child::{run_rejected, serve_command, write_config};
use crate::support::device::{Device, KEY};
use crate::support::http::post_json;
use crate::support::in_process::{AUTH_CORE, Gate, MISBEHAVING};

/// The policies of this configuration. `KEY` stands for the key of the tests.
pub(super) fn chain(text: &str) -> PolicyChain {
    Config::parse(Path::new("gate.toml"), &text.replace("KEY", &format!("{KEY:?}"))).unwrap().policy
}

/// The policy that checks signatures, after others.
pub(super) const SIGNED: &str = "[[policy]]\nname = \"signed\"\nsettings = { signature-keys = KEY }\n";

/// Asserts that `serve` rejects a configuration with exit code 64 and one line that has every one of these texts.
async fn assert_config_is_rejected(text: &str, expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let config = write_config(directory.path(), text);
    let (code, error) = run_rejected(&mut serve_command(&config)).await;
    assert_eq!(code, Some(64), "{error}");
    assert!(expected.iter().all(|it| error.contains(it)) && !error.contains(KEY), "{text}: {error}");
}

async fn gate(text: &str) -> Gate {
    let policies = chain(text);
    Gate::start_with(AUTH_CORE, |config| config.policy = policies).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_denied_at_its_next_login() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("revoked.txt");
    fs::write(&list, "").unwrap();
    let revoked = format!(
        "[[policy]]\nname = \"revoked\"\nbuiltin = \"revoked\"\nsettings = {{ revoked = {{ file = {list:?} }} }}\n"
    );
    let gate = gate(&(revoked + SIGNED)).await;
    let device = Device::valid();
    assert_eq!((gate.authenticate(&device).await, gate.authenticate(&Device::forged()).await), (200, 401));
    let action =
        json!({ "client_id": device.client_id, "username": device.username, "action": "publish", "topic": "a" });
    let action = post_json("/emqx/acl", &action);
    assert_eq!(gate.request(&action).await.result(), "ignore", "no policy decides about topics");

    fs::write(&list, "mac:AABBCC # lost\n").unwrap();
    gate.wait_until("the list is active", |status| status["chain"][0]["policy"]["generation"] == 2).await;
    assert_eq!(gate.authenticate(&device).await, 401);
    assert_eq!(gate.request(&action).await.result(), "deny");
    let other = Device::valid_with_id("GID_test@@@00_BB_CC_DD_EE_FF@@@1");
    assert_eq!(gate.authenticate(&other).await, 200);
    let status = gate.status().await;
    assert_eq!((&status["reasons"]["banned"], &status["details"]["revoked"]), (&1.into(), &1.into()), "{status}");
    assert_eq!(status["chain"][1]["policy"]["generation"], 1, "only its own settings changed");
    let newest = &status["history"][0];
    assert_eq!((&newest["policy"], &newest["event"]), (&"revoked".into(), &"activated".into()));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_one_policy_refuses_the_client() {
    let first = format!("[[policy]]\nname = \"first\"\nfile = {MISBEHAVING:?}\n");
    let text = first + "[[policy]]\nname = \"second\"\nbuiltin = \"lockdown\"\nsettings = { clients = \"c\" }";
    let gate = gate(&text).await;
    // The second policy allows the client `c`.
    for (behaviour, status) in [("ignore", 200), ("trap", 503), ("error", 503), ("ignore", 200), ("hog", 503)] {
        assert_eq!(gate.authenticate(&Device::triggering(behaviour)).await, status, "{behaviour}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_every_policy_ignores_is_refused() {
    let gate = gate("policy = { builtin = \"revoked\", settings = { revoked = \"\" } }").await;
    let device = Device::valid();
    assert_eq!(gate.authenticate(&device).await, 401);
    let request = post_json("/emqx/auth", &json!({ "client_id": device.client_id, "username": "u", "password": "p" }));
    assert_eq!(gate.request(&request).await.result(), "deny");
    assert_eq!(gate.status().await["authenticate"]["verdicts"]["ignore"], 2);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_skips_a_policy_and_a_missing_fact_does_not() {
    let lockdown = "[[policy]]\nname = \"closed\"\nbuiltin = \"lockdown\"\nsettings = { clients = \"\" }\n";
    let when = "when = { group = \"GID_closed\", peer = \"192.0.2.0/24\" }\n";
    let gate = gate(&format!("{lockdown}{when}{SIGNED}")).await;
    let login = |client_id: &str, peer: Option<&str>| {
        let device = Device::valid_with_id(client_id);
        let mut body = json!({ "client_id": client_id, "username": device.username, "password": device.password });
        if let Some(peer) = peer {
            body["peerhost"] = peer.into();
        }
        post_json("/emqx/auth", &body)
    };
    let (open, closed) = ("GID_test@@@AA_BB_CC_DD_EE_FF@@@1", "GID_closed@@@AA_BB_CC_DD_EE_FF@@@1");
    for (client_id, peer, result) in [
        (open, Some("192.0.2.7"), "allow"),
        (open, None, "allow"),
        (closed, Some("192.0.2.7"), "deny"),
        (closed, None, "deny"),
    ] {
        assert_eq!(gate.request(&login(client_id, peer)).await.result(), result, "{client_id} {peer:?}");
    }
    // The address is known, and is not in the network: only `signed` is asked, and it does not know the group.
    let reasons = gate.status().await["reasons"].clone();
    gate.request(&login(closed, Some("198.51.100.7"))).await;
    let after = gate.status().await["reasons"].clone();
    assert_eq!(after["not-authorized"], reasons["not-authorized"], "the lockdown policy was not asked: {after}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_sees_its_own_settings_only() {
    let revoked = "[[policy]]\nname = \"revoked\"\nbuiltin = \"revoked\"\n";
    let other = "[[policy]]\nname = \"signed\"\nsettings = { signature-keys = KEY, revoked = \"a\" }\n";
    let text = format!("{revoked}{other}").replace("KEY", &format!("{KEY:?}"));
    assert_config_is_rejected(&text, &["policy `revoked`", "revoked: missing"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_a_chain_are_named() {
    let lockdown = "[[policy]]\nbuiltin = \"lockdown\"\nsettings = { clients = \"\" }\n";
    let named = "[[policy]]\nname = \"a\"\nbuiltin = \"lockdown\"\nsettings = { clients = \"\" }\n";
    for (text, problem) in [
        (format!("{lockdown}{named}"), "policy.name: is missing"),
        (format!("{named}{named}"), "policy.name: two policies"),
        (format!("{named}mode = \"monitor\""), "policy.mode: every policy is a monitor"),
        (format!("{named}file = \"p.wasm\""), "policy.builtin: a policy has either"),
        (format!("{named}limits = {{ max_memory = \"1GiB\" }}"), "policy.limits: a limit is wider"),
        (format!("{named}when = {{ grop = \"a\" }}"), "unknown field `grop`"),
        (format!("{named}when = {{ peer = \"localhost\" }}"), "a peer is not a network"),
        (named.replace("\"a\"", "\"a b\""), "a name is 1 to 63"),
    ] {
        assert_config_is_rejected(&text, &[problem]).await;
    }
}
