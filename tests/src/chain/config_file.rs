//! `gate.toml` is watched: policies and tenants change without a restart.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::child::{GateProcess, write_config};
use crate::support::device::{Device, KEY};
use crate::support::http::{self, Connection, post_json};
use crate::support::poll_until;

const BASE: &str = "workers = 2\n[limits]\npolicy_timeout = \"20s\"\n";

struct Site {
    gate: GateProcess,
    config: PathBuf,
    _directory: TempDir,
}

impl Site {
    async fn start(policies: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let config = write_config(directory.path(), &text(policies));
        Self { gate: GateProcess::start_config(&config).await, config, _directory: directory }
    }

    /// Replaces the configuration as an editor does.
    fn write(&self, text: &str) {
        let new = self.config.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.config).unwrap();
    }

    async fn login(&self, path: &str, device: &Device) -> String {
        let Device { client_id, username, password } = device;
        let body = json!({ "client_id": client_id, "username": username, "password": password });
        Connection::open(self.gate.auth).await.request(&post_json(path, &body)).await.result()
    }

    async fn wait_until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        poll_until(what, async || {
            let status = Connection::open(self.gate.admin).await.request(&http::get("/status")).await.json();
            condition(&status).then_some(status)
        })
        .await
    }
}

fn text(policies: &str) -> String {
    format!("{BASE}{policies}").replace("KEY", &format!("{KEY:?}"))
}

const ONE: &str = "[policy]\nsettings = { signature-keys = KEY }\n";
const REVOKED: &str =
    "[[policy]]\nname = \"revoked\"\nbuiltin = \"revoked\"\nsettings = { revoked = \"group:GID_test\" }\n";
const SIGNED: &str = "[[policy]]\nname = \"signed\"\nsettings = { signature-keys = KEY }\n";
const TENANT: &str = "[tenant.acme.policy.settings]\nsignature-keys = KEY\n";

#[tokio::test(flavor = "multi_thread")]
async fn policies_settings_and_tenants_change_without_a_restart() {
    let site = Site::start(ONE).await;
    let device = Device::valid();
    assert_eq!(site.login("/emqx/auth", &device).await, "allow");
    assert_eq!(site.login("/t/acme/emqx/auth", &device).await, "deny");

    site.write(&text(&format!("{REVOKED}{SIGNED}{TENANT}")));
    let status = site.wait_until("the chain is active", |status| status["config_file"]["reloads"] == 1).await;
    let names: Vec<_> = status["chain"].as_array().unwrap().iter().map(|member| member["name"].clone()).collect();
    assert_eq!(names, ["revoked", "signed"]);
    assert_eq!(site.login("/emqx/auth", &device).await, "deny");
    assert_eq!(site.login("/t/acme/emqx/auth", &device).await, "allow");

    // Other settings of a policy that stays are a swap of it.
    site.write(&text(&format!("{}{SIGNED}", REVOKED.replace("GID_test", "GID_other"))));
    let status = site.wait_until("the settings are active", |status| status["config_file"]["reloads"] == 2).await;
    assert_eq!((&status["chain"][0]["policy"]["generation"], &status["tenants"]["count"]), (&2.into(), &0.into()));
    assert_eq!(status["chain"][1]["policy"]["generation"], 1);
    assert_eq!(site.login("/emqx/auth", &device).await, "allow");
    assert_eq!(site.login("/t/acme/emqx/auth", &device).await, "deny", "the tenant is gone");
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_keeps_the_configuration_before() {
    let site = Site::start(ONE).await;
    let device = Device::valid();
    for (bad, problem) in [
        (text("[policy]\nsettngs = {}\n"), "gate.toml:5: unknown field `settngs`"),
        (text(&format!("{SIGNED}[[policy]]\nname = \"revoked\"\nbuiltin = \"revoked\"\n")), "revoked: missing"),
        (text(&format!("{ONE}[tenant.acme.policy.settings]\nsignature-keys = \"\"\n")), "tenant `acme`"),
    ] {
        site.write(&bad);
        let is_rejected =
            |status: &Value| status["config_file"]["error"]["reason"].as_str().is_some_and(|it| it.contains(problem));
        let status = site.wait_until(problem, is_rejected).await;
        assert!(!status.to_string().contains(KEY), "a key is shown");
        assert_eq!((&status["config_file"]["reloads"], status["chain"].as_array().unwrap().len()), (&0.into(), 1));
        assert_eq!(site.login("/emqx/auth", &device).await, "allow");
    }
    site.write(&text(ONE));
    site.wait_until("the file is right again", |status| status["config_file"]["error"].is_null()).await;
    let log = site.gate.stop().await;
    assert!(log.contains("configuration rejected; keeping the active one"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_need_a_restart_are_named() {
    let site = Site::start(ONE).await;
    site.write(&text(ONE).replace("workers = 2", "workers = 3"));
    let needs = |status: &Value| status["config_file"]["needs_restart"] == json!(["workers"]);
    site.wait_until("the key is named", needs).await;
    site.write(&text(ONE));
    site.wait_until("nothing needs a restart", |status| status["config_file"]["needs_restart"] == json!([])).await;
    site.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lockouts_of_a_tenant_outlast_a_change_elsewhere() {
    let secret = "[tenant.acme.access]\nbroker_secret = \"a-secret-of-the-brokers-of-one-tenant\"\n";
    let lockout = "[lockout]\nfailures = 2\nwithin = \"1h\"\nfor = \"1h\"\nby = \"client-id\"\n";
    let acme = format!("{ONE}{TENANT}{secret}{lockout}");
    let site = Site::start(&acme).await;
    let login = async |password: &str| {
        let Device { client_id, username, .. } = Device::valid();
        let body = json!({ "client_id": client_id, "username": username, "password": password });
        let request = post_json("/t/acme/emqx/auth", &body);
        let request = http::with_header(&request, "x-mqtt-gate-secret", "a-secret-of-the-brokers-of-one-tenant");
        Connection::open(site.gate.auth).await.request(&request).await.result()
    };
    assert_eq!(login(&Device::valid().password).await, "allow");
    for guess in ["a", "b"] {
        assert_eq!(login(guess).await, "deny");
    }
    assert_eq!(login(&Device::valid().password).await, "deny", "locked out");
    site.write(&text(&format!("{acme}{}", TENANT.replace("acme", "bolt"))));
    site.wait_until("the other tenant is there", |status| status["tenants"]["count"] == 2).await;
    assert_eq!(login(&Device::valid().password).await, "deny", "still locked out");
    site.gate.stop().await;
}
