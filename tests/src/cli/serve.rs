//! The program as a person meets it: its verbs, what it prints, its exit codes and how it stops.

use std::fs;
use std::process::Stdio;

use mqtt_gate::config::Config;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::child::{PATIENCE, Running, mqtt_gate, run};
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING};

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_mistake_is_one_line_and_exit_64() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let typo = file("typo.toml", "lisen = \"0.0.0.0:1\"");
    let unset = file("unset.toml", "[policy.settings]\nsignature-keys = { env = \"MQTT_GATE_NOT_SET\" }");
    let gone = file("gone.toml", "[policy.settings]\nsignature-keys = { file = \"/etc/mqtt-gate-nowhere\" }");
    let no_path = file("no-path.toml", "[policy.settings]\nsignature-keys = { file = \"/s3cret+key=\" }");
    let wrong_place = file("wrong.toml", &format!("[policy.settings]\nsignature-keys = {{ env = {KEY:?} }}"));
    let garbage = file("garbage.wasm", "garbage");
    for (arguments, key, complaint) in [
        (vec!["serve"], None, "set MQTT_SIGNATURE_KEY"),
        (vec!["serve"], Some(""), "set MQTT_SIGNATURE_KEY"),
        (vec!["serve"], Some("null"), "published"),
        (vec!["serve"], Some("short"), "shorter than 16 bytes"),
        (vec!["serve", "--listen", &taken], Some(KEY), "--listen"),
        (vec!["serve", "--admin-listen", &taken], Some(KEY), "--admin-listen"),
        (vec!["serve", "--policy", "/nowhere/policy.wasm"], Some(KEY), "/nowhere/policy.wasm"),
        (vec!["serve", "--policy", &garbage], Some(KEY), "not a component"),
        (vec!["serve", "--config", "/nowhere/gate.toml"], Some(KEY), "/nowhere/gate.toml"),
        (vec!["serve", "--config", &typo], Some(KEY), "unknown field `lisen`"),
        (vec!["serve", "--config", &unset], Some(KEY), "MQTT_GATE_NOT_SET"),
        (vec!["serve", "--config", &gone], Some(KEY), "/etc/mqtt-gate-nowhere"),
        (vec!["serve", "--config", &no_path], Some(KEY), "cannot read the file it names"),
        (vec!["check", &garbage], Some(KEY), "not a component"),
        (vec!["check", AUTH_CORE], None, "signature-keys: missing"),
        (vec!["serve", "--config", &wrong_place], Some(KEY), "a name that is not shown"),
        (vec!["mint"], None, "set MQTT_SIGNATURE_KEY"),
        (vec!["mint", "--mac", "x"], Some(KEY), "is not a client id"),
    ] {
        let mut command = mqtt_gate(arguments.iter().copied());
        if arguments[0] == "serve" {
            for (flag, address) in [("--listen", "127.0.0.1:0"), ("--admin-listen", "127.0.0.1:0")] {
                if !arguments.contains(&flag) {
                    command.args([flag, address]);
                }
            }
        }
        key.map(|key| command.env("MQTT_SIGNATURE_KEY", key));
        let (code, printed, error) = run(&mut command).await;
        assert_eq!((code, printed.as_str()), (Some(64), ""), "{arguments:?}: {error}");
        assert!(error.contains(complaint) && error.lines().count() == 1, "{arguments:?}: {error}");
        assert!(!error.contains(KEY), "a key is printed");
    }
    for arguments in [vec!["serve", "--lisen"], vec!["serve", "--listen", "x"], vec!["check"], vec!["swerve"]] {
        let (code, _, error) = run(&mut mqtt_gate(arguments)).await;
        assert!(code == Some(64) && error.lines().count() == 1 && error.starts_with("mqtt-gate: "), "{error}");
    }
    assert_eq!(run(&mut mqtt_gate([])).await.0, Some(64));
    assert_eq!(run(&mut mqtt_gate(["--help"])).await.0, Some(0));
}

/// Both curl lines: as printed, and with one character changed.
#[tokio::test(flavor = "multi_thread")]
async fn the_curl_line_of_the_demo_is_let_in_as_it_is_printed() {
    let mut running = Running::start(&mut mqtt_gate(["serve", "--demo"])).await;
    let mut printed = BufReader::new(running.child.stdout.as_mut().unwrap()).lines();
    let line = loop {
        let line = printed.next_line().await.unwrap().expect("a curl line");
        if let Some(curl) = line.trim().strip_prefix("curl ") {
            break format!("curl -s {curl}");
        }
    };
    let at = line.find(r#""password":""#).unwrap() + r#""password":""#.len();
    let changed = if line[at..].starts_with('A') { "B" } else { "A" };
    let bad = format!("{}{changed}{}", &line[..at], &line[at + 1..]);
    for (line, status, body) in [(line, "200 OK", r#"{"result":"allow"}"#), (bad, "401 ", r#"{"result":"deny"}"#)] {
        let answer = Command::new("sh").args(["-c", &line]).output().await.unwrap();
        let text = String::from_utf8(answer.stdout).unwrap();
        assert!(answer.status.success(), "curl is needed: apt-get install curl");
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")) && text.ends_with(body), "{text}");
    }
    running.terminate();
    assert_eq!(running.end().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_credential_is_let_in() {
    let gate = Gate::start_with(AUTH_CORE, |config| config.policy.settings.set("groups", "*".into())).await;
    let ring = format!(r#"[{{"id":"now","key":"{KEY}"}},{{"id":"before","key":"another key, also long enough"}}]"#);
    for (key, arguments) in [
        (KEY, vec!["mint"]),
        (&ring, vec!["mint"]),
        (KEY, vec!["mint", "--group", "board", "--mac", "aa:bb:cc:dd:ee:ff", "--third", "t", "--ip", "10.0.0.1"]),
    ] {
        let (code, printed, error) = run(mqtt_gate(arguments).env("MQTT_SIGNATURE_KEY", key)).await;
        assert_eq!((code, error.as_str()), (Some(0), ""));
        let body: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(gate.ask(&crate::support::http::post_json("/mqtt/auth", &body)).await.status, 200);
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_a_policy_is_and_needs() {
    let (code, printed, error) = run(mqtt_gate(["check", AUTH_CORE]).env("MQTT_SIGNATURE_KEY", KEY)).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(printed.starts_with("good: auth-core, sha256 "), "{printed}");
    let (code, _, error) = run(&mut mqtt_gate(["check", LOCKDOWN])).await;
    assert!(code == Some(64) && error.contains("clients: missing"), "{error}");
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("gate.toml");
    fs::write(&config, "[policy.settings]\nclients = \"a\"\nclinets = \"b\"").unwrap();
    let (code, printed, _) = run(&mut mqtt_gate(["check", LOCKDOWN, "--config", config.to_str().unwrap()])).await;
    assert_eq!(code, Some(0));
    assert!(printed.contains("settings that it does not read: clinets"), "{printed}");
}

#[test]
fn the_configuration_in_deploy_is_the_default() {
    let shipped = Config::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/gate.toml").as_ref()).unwrap();
    let default = Config::default();
    assert_eq!((shipped.listen, shipped.admin_listen), (default.listen, default.admin_listen));
    assert_eq!(format!("{:?}", shipped.limits), format!("{:?}", default.limits));
    assert!(shipped.policy.file.is_none() && shipped.policy.settings.names("signature-keys"));
    assert!(shipped.tls.is_none() && shipped.admin_tls.is_none() && shipped.state.directory.is_none());
    assert!(shipped.access.broker_secret.is_none() && shipped.access.admin_token.is_none());
}

#[test]
fn what_is_commented_out_in_the_configuration_in_deploy_can_be_taken_as_it_stands() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/gate.toml")).unwrap();
    let is_table = |line: &str| line.starts_with('[') && line.ends_with(']') && !line.contains('{');
    let is_value = |line: &str| line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '));
    let taken = |line: &str| match line.strip_prefix("# ") {
        Some(value) if is_table(value) || is_value(value) => format!("{value}\n"),
        _ => format!("{line}\n"),
    };
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("gate.toml");
    fs::write(&config, text.lines().map(taken).collect::<String>()).unwrap();
    let all = Config::read(&config).unwrap();
    assert!(all.policy.file.is_some() && all.tls.is_some() && all.admin_tls.is_some() && all.state.directory.is_some());
    assert!(all.access.broker_secret.is_some() && all.access.admin_token.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_answers_what_is_in_flight_and_exits_0() {
    let mut command = mqtt_gate(["serve"]);
    let running = Running::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await;
    let mut idle = Connection::open(running.logins).await;
    assert_eq!(idle.ask(&Device::genuine().request()).await.status, 200);
    let mut busy = Connection::open(running.logins).await;
    let request = Device::genuine().request();
    let (begin, rest) = request.split_at(request.len() - 10);
    // The first answer shows that the gate has read the beginning of the second request with it.
    busy.send(&[&request, begin].concat()).await;
    assert_eq!(busy.answer().await.status, 200);
    let mut admin = Connection::open(running.admin).await;
    assert_eq!(admin.ask(&get("/readyz")).await.status, 200);

    running.terminate();
    assert!(idle.try_answer().await.is_none(), "an idle connection is closed");
    assert_eq!(admin.ask(&get("/readyz")).await.status, 503);
    assert_eq!(admin.ask(&get("/livez")).await.status, 200);
    busy.send(rest).await;
    assert_eq!(busy.answer().await.status, 200);
    assert!(busy.try_answer().await.is_none());
    let (code, _, log) = running.end().await;
    assert_eq!(code, Some(0));
    assert!(log.contains("\"stopped\""), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_refusals_and_holds_no_secret() {
    let directory = TempDir::new().unwrap();
    let policy = directory.path().join("policy.wasm");
    fs::copy(AUTH_CORE, &policy).unwrap();
    let mut command = mqtt_gate(["serve", "--policy", policy.to_str().unwrap(), "--log-level", "trace"]);
    let running = Running::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await;
    let genuine = Device::genuine();
    let mut forged = Device::named("evil\n\u{1b}[31m{\"level\":\"INFO\"}");
    (forged.username, forged.password) = ("dXNlci1zM2NyZXQ=".into(), "password-s3cret".into());
    let mut connection = Connection::open(running.logins).await;
    assert_eq!(connection.ask(&genuine.request()).await.status, 200);
    assert_eq!(connection.ask(&forged.request()).await.status, 401);
    fs::write(&policy, "garbage").unwrap();
    let mut admin = Connection::open(running.admin).await;
    let rejected = async { while admin.ask(&get("/status")).await.json()["rejected"]["count"] == 0 {} };
    timeout(PATIENCE, rejected).await.expect("the garbage is rejected");
    running.terminate();
    let (_, printed, log) = running.end().await;

    for secret in [KEY, &genuine.password, &genuine.username, &forged.username, &forged.password] {
        assert!(!log.contains(secret) && !printed.contains(secret), "a secret is in the log");
    }
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    let refused: Vec<&Value> = lines.iter().filter(|line| line["message"] == "refused").collect();
    let [refused] = refused[..] else { panic!("one line for one refusal: {log}") };
    assert_eq!(refused["client_id"], "evil\\n\\u{1b}[31m{\\\"level\\\":\\\"INFO\\\"}");
    assert_eq!((&refused["reason"], &refused["route"]), (&"client-identifier-not-valid".into(), &"/mqtt/auth".into()));
    assert_eq!(refused["policy"].as_str().unwrap().len(), 64);
    let rejected = lines.iter().find(|line| line["message"].as_str().unwrap().starts_with("policy rejected")).unwrap();
    assert_eq!(rejected["serving"], refused["policy"]);
    assert_ne!(rejected["candidate"], refused["policy"]);
}

/// Twenty logins that take a while each, in one go: the stop comes when the first of them is answered.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_answers_every_pipelined_request_that_has_arrived() {
    const REQUESTS: usize = 20;
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("gate.toml");
    fs::write(&config, format!("policy.file = {MISBEHAVING:?}\nlimits.deadline = \"100ms\"\nlimits.drain = \"60s\""))
        .unwrap();
    let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap()]);
    let running = Running::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(running.logins).await;
        connection.send(&Device::causing("loop").request().repeat(REQUESTS)).await;
        assert_eq!(connection.answer().await.status, 503);
        connections.push(connection);
    }
    running.terminate();
    for mut connection in connections {
        for request in 1..REQUESTS {
            let answer = connection.try_answer().await;
            assert_eq!(answer.map(|answer| answer.status), Some(503), "request {request}");
        }
        assert!(connection.try_answer().await.is_none());
    }
    assert_eq!(running.end().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insecure_key_is_taken_with_a_warning_however_long_instances_live() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("gate.toml");
    for calls_per_instance in [1, 1000] {
        let text = format!(
            "policy.settings = {{ signature-keys = \"null\", allow-insecure-key = \"true\" }}\n\
             limits.calls_per_instance = {calls_per_instance}"
        );
        fs::write(&config, text).unwrap();
        let mut child = mqtt_gate(["serve", "--config", config.to_str().unwrap()])
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut warned = false;
        loop {
            let line = timeout(PATIENCE, log.next_line()).await.unwrap().unwrap().expect("the gate should serve");
            warned |= line.contains("\"WARN\"") && line.contains("allow-insecure-key is true");
            if line.contains("\"serving\"") {
                break;
            }
        }
        assert!(warned, "{calls_per_instance} calls per instance");
        child.kill().await.unwrap();
    }
}

/// They wait while the program is held, which sees them and the stop at once when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_answers_the_connections_that_wait_to_be_taken() {
    let mut command = mqtt_gate(["serve"]);
    let running = Running::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await;
    running.signal("STOP");
    let mut connections = Vec::new();
    for _ in 0..200 {
        let mut connection = Connection::open(running.logins).await;
        connection.send(&Device::genuine().request()).await;
        connections.push(connection);
    }
    running.terminate();
    running.signal("CONT");
    for mut connection in connections {
        let answer = connection.try_answer().await;
        assert_eq!(answer.map(|answer| answer.status), Some(200));
    }
    assert_eq!(running.end().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_tells_what_it_was_told_is_not_repeated() {
    let mut command = mqtt_gate(["serve", "--policy", MISBEHAVING]);
    let running = Running::start(command.env("MQTT_SIGNATURE_KEY", KEY)).await;
    let mut device = Device::causing("tell me all");
    device.password = "password-s3cret".into();
    // The broker may tell it once more, under a name that its operator chose.
    let mut body = device.body();
    body["p"] = "another s3cret".into();
    let request = post_json("/mqtt/auth", &body);
    assert_eq!(Connection::open(running.logins).await.ask(&request).await.status, 503);
    running.terminate();
    let (_, _, log) = running.end().await;
    assert!(log.contains("told: (not shown) (not shown) (not shown) (not shown)"), "what the policy said is there");
    assert!(!log.contains(KEY) && !log.contains("s3cret") && !log.contains("tell me all"), "a secret is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_ends_nothing_without_a_decision_log_either() {
    let running = Running::start(mqtt_gate(["serve"]).env("MQTT_SIGNATURE_KEY", KEY)).await;
    running.signal("HUP");
    let answer = Connection::open(running.logins).await.ask(&Device::genuine().request()).await;
    assert_eq!(answer.status, 200);
    running.terminate();
    assert_eq!(running.end().await.0, Some(0));
}
