//! The dashboard in a real browser. Texts are compared with `/status`, which the dashboard shows.

use std::path::Path;

use mqtt_gate::config::Config;
use serde_json::{Value, json};

use crate::security::credential_status::{assert_shows_no_secret, gate_with_bad_credentials};
use crate::support::browser::{dashboard, dashboard_at};
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING};

/// The attribute that marks the headline when an operator has to act.
const ALARM: &str = "class=\"trouble\"";

fn assert_shows(page: &str, text: &str) {
    assert!(page.contains(text), "no {text:?} in {page}");
}

/// Asserts that the page shows a text of `/status`, whose first letter it may have changed to upper case.
fn assert_shows_sentence(page: &str, text: &Value) {
    assert_shows(page, text.as_str().unwrap().split_at(1).1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_of_a_healthy_gate_shows_policy_and_counts_without_alarm() {
    let gate = Gate::start(AUTH_CORE).await;
    for _ in 0..3 {
        assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    }
    assert_eq!(gate.authenticate(&Device::unsigned("<i>intruder</i>")).await, 401);
    let status = gate.status().await;
    let page = dashboard(gate.admin).await;
    let digest = status["policy"]["sha256"].as_str().unwrap();
    for text in ["auth-core", digest, ">3 ", ">1 ", "client-identifier-not-valid"] {
        assert_shows(&page, text);
    }
    assert!(!page.contains(ALARM) && !page.contains("intruder"), "{page}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_shows_problems_with_hints_until_they_are_solved() {
    let gate = Gate::start_with(MISBEHAVING, |config| config.policy.first.settings.set("grops", "x".into())).await;
    gate.authenticate(&Device { password: "x".into(), ..Device::triggering("trap") }).await;
    gate.request(&post_json("/emqx/auth", &json!({ "clientid": "c", "peerhost": "${peerhots}" }))).await;
    gate.write_policy(b"garbage");
    let status = gate.wait_for_rejection(1).await;
    let page = dashboard(gate.admin).await;
    let mut warnings = status["config_warnings"].as_array().unwrap().iter();
    let warning = warnings.find(|warning| warning["kind"] == "placeholder").unwrap();
    for text in [&warning["problem"], &warning["hint"], &status["rejected"]["last"]["reason"]] {
        assert_shows_sentence(&page, text);
    }
    for text in [ALARM, "title=\"trap\"", "peerhost", "grops"] {
        assert_shows(&page, text);
    }
    gate.write_policy(&std::fs::read(MISBEHAVING).unwrap());
    let is_restored = |status: &Value| status["history"][0]["event"] == "restored";
    let restored = gate.wait_until("the policy file is valid again", is_restored).await;
    // The rejection remains in the history, and is not a problem any more.
    let reason = status["rejected"]["last"]["reason"].as_str().unwrap();
    assert_eq!(restored["policy"]["generation"], 1);
    assert!(dashboard(gate.admin).await.matches(reason).count() < page.matches(reason).count());
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_shows_expired_certificates_and_failed_reloads() {
    let (gate, _files) = gate_with_bad_credentials().await;
    let status = Connection::open(gate.admin).await.request(&get("/status")).await.json();
    let mut credentials = status["credentials"].as_array().unwrap().iter();
    let failed = credentials.find(|credential| !credential["reload_error"].is_null()).unwrap();
    let page = dashboard(gate.admin).await;
    assert_shows_sentence(&page, &failed["reload_error"]["reason"]);
    for text in [ALARM, "expired", "tls", "access.broker_secret", "2020-12-31"] {
        assert_shows(&page, text);
    }
    assert_shows_no_secret(&page);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_says_that_many_logins_are_refused_and_marks_a_swap() {
    let gate = Gate::start(AUTH_CORE).await;
    for number in 0..32 {
        gate.authenticate(&Device::valid()).await;
        // Each is another login, so that none of them is a repetition.
        gate.authenticate(&Device { password: format!("{number:A>43}="), ..Device::valid() }).await;
    }
    gate.rename_policy(&std::fs::read(LOCKDOWN).unwrap());
    gate.wait_for_generation(2).await;
    let page = dashboard(gate.admin).await;
    for text in ["Many logins are refused: 50 % in the last five minutes", "class=\"watch\"", "class=\"swap\""] {
        assert_shows(&page, text);
    }
    assert!(!page.contains(ALARM) && !page.contains("no login yet"), "{page}");
    gate.stop().await;
}

/// One request by hand, such as an operator's test with curl.
#[tokio::test(flavor = "multi_thread")]
async fn one_malformed_request_is_a_hint_and_no_alarm() {
    let gate = Gate::start(AUTH_CORE).await;
    gate.request(&post_json("/emqx/auth", &json!({}))).await;
    let page = dashboard(gate.admin).await;
    assert_shows(&page, "the request has no fields");
    assert!(!page.contains(ALARM), "{page}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_shows_every_policy_monitor_and_tenant() {
    let text = format!(
        "[[policy]]\nname = \"lost\"\nbuiltin = \"revoked\"\nsettings = {{ revoked = \"<i>x\", other = \"y\" }}\nwhen = {{ group = \"<b>\" }}\n\
         [[policy]]\nname = \"next\"\nbuiltin = \"lockdown\"\nmode = \"monitor\"\nsettings = {{ clients = \"\" }}\n\
         [[policy]]\nname = \"signed\"\nsettings = {{ signature-keys = {KEY:?} }}\n\
         [[tenant.acme.policy]]\nname = \"inner\"\nbuiltin = \"revoked\"\nsettings = {{ revoked = \"\" }}\n\
         [tenant.bolt.policy.settings]\nsignature-keys = {KEY:?}\n"
    );
    let config = Config::parse(Path::new("gate.toml"), &text).unwrap();
    let gate = Gate::start_with(AUTH_CORE, |it| (it.policy, it.tenant) = (config.policy, config.tenant)).await;
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    let is_compared = |status: &Value| status["chain"][1]["monitor"]["compared"] == 1;
    gate.wait_until("the monitor has compared", is_compared).await;
    let page = dashboard(gate.admin).await;
    let client_id = Device::valid().client_id;
    for text in [
        ">lost<",
        "clients with group: &lt;b&gt;",
        ">next<",
        "monitor; all clients",
        ">signed<",
        "lost: settings that",
        ">acme<",
        ">bolt<",
    ] {
        assert_shows(&page, text);
    }
    for text in ["would-deny", &client_id, "not-authorized"] {
        assert_shows(&page, text);
    }
    assert!(!page.contains(">inner<") && !page.contains("<i>"), "{page}");
    let page = dashboard_at(gate.admin, "#tenant=acme").await;
    assert_shows(&page, ">inner<");
    gate.stop().await;
}
