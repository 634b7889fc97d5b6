//! Connected clients that the policies deny are disconnected (`on_revoke`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use mqtt_gate::config::{BrokerConfig, Config, OnRevoke};
use mqtt_gate_engine::util::name::Name;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::child::{mqtt_gate, run, write_config};
use crate::support::device::{Device, KEY};
use crate::support::emqx_model::{EmqxModel, Version};
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate};

/// The policies of a gate whose list of revoked clients is this file.
fn revoked_in_front(list: &Path) -> String {
    format!(
        "[[policy]]\nname = \"revoked\"\nbuiltin = \"revoked\"\nsettings = {{ revoked = {{ file = {list:?} }} }}\n\
         [[policy]]\nname = \"signed\"\nsettings = {{ signature-keys = {KEY:?} }}\n"
    )
}

/// The client id of one of many clients, as the default policy expects it.
fn client_id(number: u32) -> String {
    format!("GID_test@@@00_00_00_00_{:02X}_{:02X}@@@1", number / 256, number % 256)
}

fn config_of(text: &str) -> Config {
    Config::parse(Path::new("gate.toml"), text).unwrap()
}

/// Starts a gate with `on_revoke`.
async fn start_gate(emqx: &EmqxModel, on_revoke: OnRevoke, change: impl FnOnce(&mut Config)) -> Gate {
    Gate::start_with(AUTH_CORE, |config| {
        config.broker = vec![BrokerConfig { on_revoke: Some(on_revoke), ..emqx.config() }];
        // The second sweep after an activation waits for this time.
        config.limits.policy_timeout = Duration::from_secs(60);
        change(config);
    })
    .await
}

/// A gate with a list of revoked clients, and EMQX with `on_revoke`.
struct Site {
    emqx: EmqxModel,
    gate: Gate,
    list: PathBuf,
    _directory: TempDir,
}

impl Site {
    async fn start(on_revoke: OnRevoke) -> Self {
        let (emqx, directory) = (EmqxModel::start(Version::V6_2).await, TempDir::new().unwrap());
        let list = directory.path().join("revoked.txt");
        fs::write(&list, "").unwrap();
        let policies = config_of(&revoked_in_front(&list)).policy;
        let gate = start_gate(&emqx, on_revoke, |config| config.policy = policies).await;
        wait_for_sweep(&gate, 0).await;
        emqx.take_calls();
        Self { emqx, gate, list, _directory: directory }
    }

    /// Replaces the list, and waits for the sweep that follows.
    async fn revoke(&self, list: &str) -> Value {
        let before = self.gate.status().await["revocation"][0]["generation"].as_u64().unwrap();
        fs::write(&self.list, list).unwrap();
        wait_for_sweep(&self.gate, before).await
    }
}

/// Waits for the end of a sweep after a later activation than this one.
async fn wait_for_sweep(gate: &Gate, generation: u64) -> Value {
    let is_done = |status: &Value| {
        let sweep = &status["revocation"][0];
        sweep["generation"].as_u64() > Some(generation) && sweep["running"] == false
    };
    gate.wait_until("the connected clients are examined", is_done).await["revocation"][0].clone()
}

async fn metric(gate: &Gate, line: &str) -> u64 {
    let metrics = Connection::open(gate.admin).await.request(&get("/metrics")).await;
    let text = metrics.text();
    let value = text.lines().find_map(|text| text.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no metric {line}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_disconnected_and_the_others_stay() {
    let site = Site::start(OnRevoke::Kick).await;
    let (lost, other) = (Device::valid(), Device::valid_with_id("GID_test@@@00_BB_CC_DD_EE_FF@@@1"));
    assert!(site.emqx.connect(site.gate.auth, &lost).await && site.emqx.connect(site.gate.auth, &other).await);
    let sweep = site.revoke("mac:AABBCC # lost\n").await;
    assert_eq!((&sweep["examined"], &sweep["denied"], &sweep["kicked"]), (&json!(2), &json!(1), &json!(1)), "{sweep}");
    assert_eq!((&sweep["failed"], &sweep["error"]), (&json!(0), &Value::Null));
    assert_eq!(site.emqx.connected().into_iter().collect::<Vec<_>>(), [other.client_id.as_str()]);
    let calls = site.emqx.take_calls();
    let kick = calls.iter().position(|call| *call == format!("kick {}", lost.client_id)).expect("a kick");
    assert!(kick >= 3 && calls[..3].iter().all(|call| call.starts_with("reset ")), "the caches first: {calls:?}");
    assert!(!site.emqx.connect(site.gate.auth, &lost).await, "no kept response lets it back in");
    assert!(site.emqx.banned().is_empty());
    let api = format!("{{api=\"http://{}\"", site.emqx.api);
    // In the order of the labels.
    let kicks = format!("mqtt_gate_revoked_clients_total{},action=\"kick\"}}", api);
    assert_eq!(metric(&site.gate, &kicks).await, 1);
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_device_stays_out_when_the_gate_would_allow_it_again() {
    let site = Site::start(OnRevoke::Ban).await;
    let device = Device::valid();
    assert!(site.emqx.connect(site.gate.auth, &device).await);
    let sweep = site.revoke(&format!("{}\n", device.client_id)).await;
    assert_eq!((&sweep["denied"], &sweep["kicked"]), (&json!(1), &json!(1)), "{sweep}");
    let bans = site.emqx.banned();
    let until = humantime::parse_rfc3339(bans[&device.client_id]["until"].as_str().unwrap()).unwrap();
    assert!(until > SystemTime::now() && bans.len() == 1 && site.emqx.connected().is_empty());
    site.revoke("").await;
    assert!(!site.emqx.connect(site.gate.auth, &device).await, "EMQX keeps the ban");
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_are_read_before_the_first_client_is_disconnected() {
    let site = Site::start(OnRevoke::Kick).await;
    site.emqx.connect_unasked((0..2_500).map(client_id));
    let before = site.emqx.pages();
    let sweep = site.revoke(&[0, 1_000, 2_499].map(client_id).join("\n")).await;
    assert_eq!((&sweep["examined"], &sweep["kicked"]), (&json!(2_500), &json!(3)), "{sweep}");
    assert!(site.emqx.pages() >= before + 3);
    assert_eq!(site.emqx.connected().len(), 2_497);
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_corrected_ends_a_sweep() {
    let site = Site::start(OnRevoke::Kick).await;
    site.emqx.connect_unasked((0..5_000).map(client_id));
    let Site { emqx, gate, list, .. } = &site;
    fs::write(list, "group:GID_test").unwrap();
    gate.wait_until("a client is disconnected", |status| status["revocation"][0]["kicked"].as_u64() > Some(0)).await;
    let sweep = site.revoke("").await;
    assert_eq!((&sweep["denied"], &sweep["kicked"]), (&json!(0), &json!(0)), "{sweep}");
    let left = emqx.connected().len();
    assert!(left > 0 && left < 5_000, "{left} are left");
    let interrupted =
        format!("mqtt_gate_revocation_sweeps_total{{api=\"http://{}\",result=\"interrupted\"}}", emqx.api);
    assert!(metric(gate, &interrupted).await > 0);
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_disconnects_nobody() {
    let site = Site::start(OnRevoke::Report).await;
    site.emqx.connect_unasked((0..20).map(client_id));
    site.emqx.connect_unasked(["of another authenticator".to_owned()]);
    let sweep = site.revoke(&client_id(7)).await;
    assert_eq!((&sweep["examined"], &sweep["denied"], &sweep["kicked"]), (&json!(21), &json!(2), &json!(0)), "{sweep}");
    assert_eq!((&sweep["action"], site.emqx.connected().len()), (&json!("report"), 21));
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_without_an_authorizer_disconnect_nobody_and_the_gate_says_so() {
    let emqx = EmqxModel::start(Version::V6_2).await;
    emqx.connect_unasked(["c".to_owned()]);
    let policies = config_of("policy = { builtin = \"lockdown\", settings = { clients = \"\" } }").policy;
    let gate = start_gate(&emqx, OnRevoke::Kick, |config| config.policy = policies).await;
    let sweep = wait_for_sweep(&gate, 0).await;
    assert_eq!((&sweep["lacks_authorizer"], &sweep["examined"]), (&json!(true), &json!(0)), "{sweep}");
    assert_eq!((emqx.pages(), emqx.connected().len()), (0, 1));
    let printed = run(&mut mqtt_gate(["status", "--admin", &gate.admin.to_string()])).await.1;
    assert!(printed.contains("no policy has an authorizer, so no connected client is revoked"), "{printed}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_api_that_fail_are_shown_and_made_again() {
    let site = Site::start(OnRevoke::Kick).await;
    let device = Device::valid();
    assert!(site.emqx.connect(site.gate.auth, &device).await);
    site.emqx.fail_clients_with(Some(StatusCode::SERVICE_UNAVAILABLE));
    fs::write(&site.list, "mac:AABBCC").unwrap();
    let is_failing = |status: &Value| status["revocation"][0]["error"]["reason"].is_string();
    let status = site.gate.wait_until("a call fails", is_failing).await;
    let sweep = &status["revocation"][0];
    assert!(sweep["error"]["reason"].as_str().unwrap().starts_with("it responded with status 503; "), "{sweep}");
    assert_eq!((&sweep["running"], site.emqx.connected().len()), (&json!(true), 1));
    let printed = run(&mut mqtt_gate(["status", "--admin", &site.gate.admin.to_string()])).await.1;
    assert!(printed.contains("revoked clients may stay connected; the gate keeps trying"), "{printed}");
    site.emqx.fail_clients_with(None);
    let is_out = |status: &Value| status["revocation"][0]["kicked"] == 1;
    let status = site.gate.wait_until("the client is disconnected", is_out).await;
    assert_eq!(status["revocation"][0]["error"], Value::Null);
    assert!(site.emqx.connected().is_empty());
    site.gate.stop().await;
}

/// The list of clients does not tell the listener, so such a policy could deny clients that it is not meant for.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_may_not_be_meant_for_a_client_does_not_disconnect_it() {
    let emqx = EmqxModel::start(Version::V6_2).await;
    let revoked = |name: &str, client_id: &str, when: &str| {
        let builtin = format!("[[policy]]\nname = {name:?}\nbuiltin = \"revoked\"\n");
        builtin + &format!("settings = {{ revoked = {client_id:?} }}\nwhen = {{ {when} }}\n")
    };
    let text =
        revoked("by-listener", "c1", "listener = \"tcp:a\"") + &revoked("by-peer", "c2", "peer = \"127.0.0.0/8\"");
    let policies = config_of(&text).policy;
    emqx.connect_unasked(["c1", "c2"].map(str::to_owned));
    let gate = start_gate(&emqx, OnRevoke::Kick, |config| config.policy = policies).await;
    let sweep = wait_for_sweep(&gate, 0).await;
    assert_eq!((&sweep["examined"], &sweep["denied"]), (&json!(2), &json!(1)), "{sweep}");
    assert_eq!(emqx.connected().into_iter().collect::<Vec<_>>(), ["c1"]);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policies_of_the_tenant_of_the_broker_are_asked() {
    let (emqx, directory) = (EmqxModel::start(Version::V6_2).await, TempDir::new().unwrap());
    let list = directory.path().join("revoked.txt");
    fs::write(&list, client_id(1)).unwrap();
    let text = revoked_in_front(&list).replace("[[policy]]", "[[tenant.acme.policy]]");
    let tenants = config_of(&text).tenant;
    let own = config_of("policy = { builtin = \"revoked\", settings = { revoked = \"group:GID_test\" } }").policy;
    emqx.connect_unasked([1, 2].map(client_id));
    let gate = start_gate(&emqx, OnRevoke::Kick, |config| {
        (config.policy, config.tenant) = (own, tenants);
        config.broker[0].tenant = Name::new("acme");
    })
    .await;
    let sweep = wait_for_sweep(&gate, 0).await;
    assert_eq!((&sweep["tenant"], &sweep["kicked"]), (&json!("acme"), &json!(1)), "{sweep}");
    assert_eq!(emqx.connected().into_iter().collect::<Vec<_>>(), [client_id(2)]);
    gate.stop().await;
}

/// The policy for tokens admits clients and cannot be asked about them. The default policy would deny their names.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_another_policy_may_have_admitted_stays() {
    let (emqx, directory) = (EmqxModel::start(Version::V6_2).await, TempDir::new().unwrap());
    let ring = directory.path().join("ring");
    fs::write(&ring, KEY).unwrap();
    let text = format!(
        "[[policy]]\nname = \"revoked\"\nbuiltin = \"revoked\"\nsettings = {{ revoked = \"lost\" }}\n\
         [[policy]]\nname = \"tokens\"\nbuiltin = \"jwt\"\nkeyrings = {{ jwt = {{ file = {ring:?} }} }}\n\
         [[policy]]\nname = \"signed\"\nsettings = {{ signature-keys = {KEY:?} }}\n"
    );
    let policies = config_of(&text).policy;
    emqx.connect_unasked(["admitted by a token", "lost"].map(str::to_owned));
    let gate = start_gate(&emqx, OnRevoke::Kick, |config| config.policy = policies).await;
    let sweep = wait_for_sweep(&gate, 0).await;
    assert_eq!((&sweep["examined"], &sweep["kicked"]), (&json!(2), &json!(1)), "{sweep}");
    assert_eq!(emqx.connected().into_iter().collect::<Vec<_>>(), ["admitted by a token"]);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_another_tenant_starts_no_sweep() {
    let (emqx, directory) = (EmqxModel::start(Version::V6_2).await, TempDir::new().unwrap());
    let [own, other] = ["own.txt", "other.txt"].map(|name| directory.path().join(name));
    fs::write(&own, "").unwrap();
    fs::write(&other, "").unwrap();
    let policies = config_of(&revoked_in_front(&own)).policy;
    let tenants = config_of(&revoked_in_front(&other).replace("[[policy]]", "[[tenant.acme.policy]]")).tenant;
    emqx.connect_unasked([client_id(1)]);
    let gate = start_gate(&emqx, OnRevoke::Kick, |config| (config.policy, config.tenant) = (policies, tenants)).await;
    let before = wait_for_sweep(&gate, 0).await;
    fs::write(&other, "group:GID_test").unwrap();
    let is_reset = |status: &Value| {
        let caches = &status["broker_caches"][0];
        caches["is_current"] == true && caches["generation"].as_u64() > before["generation"].as_u64()
    };
    let status = gate.wait_until("the caches are reset for the tenant", is_reset).await;
    assert_eq!((&status["revocation"][0]["generation"], emqx.connected().len()), (&before["generation"], 1));
    fs::write(&own, client_id(1)).unwrap();
    let sweep = wait_for_sweep(&gate, before["generation"].as_u64().unwrap()).await;
    assert_eq!((&sweep["kicked"], emqx.connected().len()), (&json!(1), 0), "{sweep}");
    gate.stop().await;
}

/// More ids than are kept at once, in pages that are too long for one response.
#[tokio::test(flavor = "multi_thread")]
async fn more_denied_clients_than_fit_into_memory_are_disconnected_in_turn() {
    let site = Site::start(OnRevoke::Kick).await;
    let long = |number: u32| format!("GID_long@@@{}@@@{number}", "x".repeat(16_000));
    site.emqx.connect_unasked((0..1_100).map(long));
    let sweep = site.revoke("group:GID_long").await;
    assert_eq!((&sweep["denied"], &sweep["kicked"]), (&json!(1_100), &json!(1_100)), "{sweep}");
    assert!(site.emqx.connected().is_empty());
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_on_revoke_would_do() {
    let (emqx, directory) = (EmqxModel::start(Version::V6_2).await, TempDir::new().unwrap());
    let list = directory.path().join("revoked.txt");
    fs::write(&list, "").unwrap();
    let closed = "[[policy]]\nname = \"closed\"\nbuiltin = \"lockdown\"\nsettings = { clients = \"\" }\n";
    let text = emqx.config_text() + "on_revoke = \"ban\"\nrevoke_ban = \"2h\"\n" + &revoked_in_front(&list) + closed;
    let config = write_config(directory.path(), &text);
    let (code, printed, error) = run(&mut mqtt_gate(["check", "--config", config.to_str().unwrap()])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for line in [
        "the gate disconnects clients that the policies of the gate deny and bans them for 2h",
        "not asked about connected clients, without an authorizer: closed",
    ] {
        assert!(printed.lines().any(|it| it == format!("broker http://{}: {line}", emqx.api)), "{line}: {printed}");
    }
}
