//! The gate is asked in TLS: by whom it trusts, with the certificate that lies there now.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mqtt_gate::config::TlsConfig;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::ca::{Authority, Identity};
use crate::support::child::{PATIENCE, Running, mqtt_gate, run};
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate};

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/tls");

fn key(name: &str) -> String {
    fs::read_to_string(format!("{KEYS}/{name}.pem")).unwrap()
}

/// The files of one certificate.
pub(crate) struct Files {
    directory: TempDir,
}

impl Files {
    pub(crate) fn of(identity: &Identity) -> Self {
        let files = Self { directory: TempDir::new().unwrap() };
        files.put("chain.pem", &identity.chain);
        files.put("key.pem", &identity.key);
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn config(&self, client_ca: Option<&str>) -> TlsConfig {
        let client_ca = client_ca.map(|authority| {
            self.put("authority.pem", authority);
            self.path("authority.pem")
        });
        TlsConfig { certificate: self.path("chain.pem"), key: self.path("key.pem"), client_ca }
    }

    /// As it is written in a configuration.
    pub(crate) fn toml(&self) -> String {
        let of = |name: &str| self.path(name).display().to_string();
        format!("{{ certificate = {:?}, key = {:?} }}", of("chain.pem"), of("key.pem"))
    }
}

async fn start(files: &Files, client_ca: Option<&str>) -> (Running, PathBuf) {
    let config = files.path("gate.toml");
    let authority = client_ca.map(|authority| {
        files.put("authority.pem", authority);
        format!("client_ca = {:?}", files.path("authority.pem"))
    });
    let tables = ["tls", "admin_tls"].map(|table| {
        let authority = authority.clone().unwrap_or_default();
        let (chain, key) = (files.path("chain.pem"), files.path("key.pem"));
        format!("[{table}]\ncertificate = {chain:?}\nkey = {key:?}\n{authority}\n")
    });
    fs::write(&config, tables.concat()).unwrap();
    let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap()]);
    (Running::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_addresses_speak_tls_with_every_kind_of_key() {
    let authority = Authority::new();
    for (made_with, used) in [
        ("rsa-pkcs8", "rsa-pkcs8"),
        ("rsa-pkcs8", "rsa-pkcs1"),
        ("ecdsa-pkcs8", "ecdsa-pkcs8"),
        ("ecdsa-pkcs8", "ecdsa-sec1"),
    ] {
        let mut identity = authority.identity_with(&key(made_with));
        identity.key = key(used);
        let files = Files::of(&identity);
        let (gate, _) = start(&files, None).await;
        let mut connection = authority.connect(gate.logins, None).await.unwrap();
        connection.send(&[Device::genuine().request(), Device::named("x").request()].concat().repeat(100)).await;
        for _ in 0..100 {
            assert_eq!((connection.answer().await.status, connection.answer().await.status), (200, 401), "{used}");
        }
        let mut admin = authority.connect(gate.admin, None).await.unwrap();
        assert_eq!(admin.ask(&get("/status")).await.json()["verdicts"]["allow"], 100);
        // Without TLS nobody is answered, on either.
        for address in [gate.logins, gate.admin] {
            let mut plain = Connection::open(address).await;
            plain.send(&get("/mqtt/auth")).await;
            plain.end().await;
        }
        gate.until_logged("does not come to speak TLS", 1).await;
        gate.terminate();
        assert_eq!(gate.end().await.0, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_a_certificate_of_the_authority_gets_to_speak() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let files = Files::of(&authority.identity());
    let (gate, _) = start(&files, Some(&clients.root())).await;
    let request = Device::genuine().request();
    for address in [gate.logins, gate.admin] {
        let mut client = authority.connect(address, Some(&clients.identity())).await.unwrap();
        assert_eq!(client.ask(&get("/readyz")).await.status, if address == gate.admin { 200 } else { 404 });
        for stranger in [None, Some(authority.identity())] {
            // In TLS 1.3 a client hears of it only when it reads.
            if let Ok(mut connection) = authority.connect(address, stranger.as_ref()).await {
                connection.try_send(&request).await;
                assert!(connection.try_answer().await.is_none(), "a stranger is not answered");
            }
        }
    }
    assert_eq!(status(&authority, &clients, &gate).await["calls"], 0);

    // As a person would.
    let identity = clients.identity();
    let file = |name: &str, text: &str| {
        files.put(name, text);
        files.path(name).display().to_string()
    };
    let (root, chain, key) =
        (file("root", &authority.root()), file("client", &identity.chain), file("ckey", &identity.key));
    let url = format!("https://localhost:{}/mqtt/auth", gate.logins.port());
    let curl = async |arguments: &[&str]| {
        let body = Device::genuine().body().to_string();
        let mut command = Command::new("curl");
        command.args(["-s", "--cacert", &root, "-H", "content-type: application/json", "-d", &body, &url]);
        command.args(["--resolve", &format!("localhost:{}:127.0.0.1", gate.logins.port())]);
        command.args(arguments).output().await.expect("curl is needed: apt-get install curl")
    };
    let answer = curl(&["--cert", &chain, "--key", &key]).await;
    assert_eq!(String::from_utf8_lossy(&answer.stdout), r#"{"result":"allow"}"#, "{:?}", answer);
    assert!(!curl(&[]).await.status.success());
    gate.terminate();
    assert_eq!(gate.end().await.0, Some(0));
}

async fn status(authority: &Authority, clients: &Authority, gate: &Running) -> serde_json::Value {
    let mut admin = authority.connect(gate.admin, Some(&clients.identity())).await.unwrap();
    admin.ask(&get("/status")).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_and_a_bad_one_refused_while_the_gate_runs() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::of(&old.identity());
    let (gate, _) = start(&files, None).await;
    let mut before = old.connect(gate.logins, None).await.unwrap();
    assert!(new.connect(gate.logins, None).await.is_err());

    assert_eq!(admin_status(&old, gate.admin).await["safeguards"][0]["refused"], Value::Null);
    files.put("chain.pem", "garbage");
    gate.until_logged("of no use; what they held before stays in use", 2).await;
    // A certificate for another key.
    files.put("chain.pem", &new.identity().chain);
    gate.until_logged("does not fit the first certificate in", 2).await;
    old.connect(gate.logins, None).await.unwrap();
    for (at, name) in ["tls", "admin_tls"].into_iter().enumerate() {
        let told = &admin_status(&old, gate.admin).await["safeguards"][at];
        assert_eq!((&told["name"], &told["expires"]), (&json!(name), &json!("4096-01-01T00:00:00Z")));
        assert!(told["refused"]["reason"].as_str().unwrap().contains("does not fit"), "{told}");
    }

    let identity = new.identity();
    files.put("chain.pem", &identity.chain);
    files.put("key.pem", &identity.key);
    gate.until_logged("renewed: the files have changed", 2).await;
    for address in [gate.logins, gate.admin] {
        new.connect(address, None).await.unwrap();
        assert!(old.connect(address, None).await.is_err());
    }
    let told = admin_status(&new, gate.admin).await;
    assert_eq!((&told["safeguards"][0]["refused"], &told["safeguards"][1]["refused"]), (&Value::Null, &Value::Null));
    assert_eq!(before.ask(&Device::genuine().request()).await.status, 200, "who was there goes on");
    gate.terminate();
    let (code, _, log) = gate.end().await;
    assert_eq!(code, Some(0));
    assert!(!log.contains("PRIVATE KEY"));
}

async fn admin_status(authority: &Authority, admin: SocketAddr) -> Value {
    authority.connect(admin, None).await.unwrap().ask(&get("/status")).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dawdles_over_tls_holds_up_nobody() {
    let authority = Authority::new();
    let files = Files::of(&authority.identity());
    for limit in [Duration::from_secs(3_600), Duration::from_millis(100)] {
        let gate = Gate::start_with(AUTH_CORE, |config| {
            config.tls = Some(files.config(None));
            config.limits.request = limit;
        })
        .await;
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(Connection::open(gate.logins).await);
        }
        // The beginning of a greeting.
        silent[0].try_send(&[22, 3, 1]).await;
        if limit > PATIENCE {
            // All of them are there still.
            let mut connection = authority.connect(gate.logins, None).await.unwrap();
            assert_eq!(connection.ask(&Device::genuine().request()).await.status, 200);
        } else {
            for mut connection in silent {
                connection.end().await;
            }
            gate.until("their places are free", |status| status["connections"]["open"] == 0).await;
        }
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_is_in_flight_in_tls_and_ends_it_cleanly() {
    let authority = Authority::new();
    let files = Files::of(&authority.identity());
    let mut gate = Gate::start_with(AUTH_CORE, |config| config.tls = Some(files.config(None))).await;
    let mut connection = authority.connect(gate.logins, None).await.unwrap();
    let request = Device::genuine().request();
    let (begin, rest) = request.split_at(request.len() - 10);
    // The first answer shows that the gate has read the beginning of the last request with it.
    connection.send(&[&request.repeat(20), begin].concat()).await;
    assert_eq!(connection.answer().await.status, 200);
    gate.say_stop();
    for _ in 1..20 {
        assert_eq!(connection.answer().await.status, 200);
    }
    connection.send(rest).await;
    assert_eq!(connection.answer().await.status, 200);
    assert!(connection.try_answer().await.is_none());
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_says_so_in_tls() {
    let authority = Authority::new();
    let files = Files::of(&authority.identity());
    let (gate, _) = start(&files, None).await;
    for (address, target, status) in [(gate.logins, "/mqtt/auth", 200), (gate.admin, "/readyz", 200)] {
        let mut connection = authority.connect(address, None).await.unwrap();
        let last = String::from_utf8(get(target)).unwrap().replace("host: gate", "host: gate\r\nconnection: close");
        assert_eq!(connection.ask(last.as_bytes()).await.status, status);
        assert!(connection.ends_cleanly().await, "{target}");
        let mut connection = authority.connect(address, None).await.unwrap();
        connection.finish().await;
        assert!(connection.ends_cleanly().await, "{target}");
    }
    gate.terminate();
    assert_eq!(gate.end().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_a_certificate_is_one_line_that_names_the_file() {
    let authority = Authority::new();
    let identity = authority.identity();
    let files = Files::of(&identity);
    let path = |name: &str| files.path(name).display().to_string();
    let config = files.path("gate.toml");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text, complaint) in [
        ("chain.pem", None, format!("tls: cannot read {}", path("chain.pem"))),
        ("chain.pem", Some(identity.key.as_str()), format!("{}: there is no certificate in it", path("chain.pem"))),
        ("chain.pem", Some(garbage), path("chain.pem")),
        (
            "chain.pem",
            Some(&authority.identity().chain),
            format!("does not fit the first certificate in {}", path("chain.pem")),
        ),
        ("key.pem", None, format!("tls: cannot read {}", path("key.pem"))),
        ("key.pem", Some(&identity.chain), format!("{}: there is no private key in it", path("key.pem"))),
        ("key.pem", Some(&key("encrypted-pkcs8")), format!("{}: the key is encrypted", path("key.pem"))),
        ("key.pem", Some(&key("encrypted-pkcs1")), format!("{}: the key is encrypted", path("key.pem"))),
        ("authority.pem", Some(""), format!("{}: there is no certificate in it", path("authority.pem"))),
    ] {
        files.put("chain.pem", &identity.chain);
        files.put("key.pem", &identity.key);
        files.put("authority.pem", &authority.root());
        match text {
            Some(text) => files.put(name, text),
            None => fs::remove_file(files.path(name)).unwrap(),
        }
        let table = files.toml().replace(" }", &format!(", client_ca = {:?} }}", path("authority.pem")));
        fs::write(&config, format!("tls = {table}")).unwrap();
        let (code, error) = refusal(&config).await;
        assert_eq!(code, Some(64));
        assert!(error.contains(&complaint) && error.lines().count() == 1, "{error}\nand not {complaint}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
}

async fn refusal(config: &Path) -> (Option<i32>, String) {
    let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let (code, _, error) = run(command.args(["--admin-listen", "127.0.0.1:0"]).env("MQTT_SIGNATURE_KEY", KEY)).await;
    (code, error)
}
