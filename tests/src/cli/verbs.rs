//! The verbs that need no gate: what a policy is, and whom it lets in.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::child::{PATIENCE, mqtt_gate, program, run, run_with};
use crate::support::device::{Device, KEY, USERNAME};
use crate::support::http::post_json;
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING};

/// What a verb prints with `--json`: one line.
pub(crate) fn json_line(printed: &str) -> Value {
    assert_eq!(printed.lines().count(), 1, "{printed}");
    serde_json::from_str(printed).unwrap()
}

pub(crate) fn sha256(file: &str) -> String {
    Sha256::digest(fs::read(file).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_explains_itself_with_an_example() {
    let (code, help, _) = run(&mut mqtt_gate(["--help"])).await;
    assert!(code == Some(0) && help.contains("Exit codes:"), "{help}");
    for verb in ["serve", "check", "compose", "inspect", "ask", "mint", "status", "swap", "rollback", "completions"] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb} is missing: {help}");
        let (code, help, _) = run(&mut mqtt_gate([verb, "--help"])).await;
        assert!(code == Some(0) && help.contains("\nExamples:\n  "), "{verb}: {help}");
    }
}

/// As `mqtt-gate ask … | head -0` is.
#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_tells_also_when_nobody_reads_the_answer() {
    for (arguments, code) in
        [(vec!["ask", "--client-id", "nobody", "--json"], 1), (vec!["check", LOCKDOWN, "--json"], 64)]
    {
        let mut command = mqtt_gate(arguments);
        command.env("MQTT_SIGNATURE_KEY", KEY).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let ended = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
        assert_eq!(ended.code(), Some(code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_are_there_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, error) = run(&mut mqtt_gate(["completions", shell])).await;
        assert_eq!((code, error.as_str()), (Some(0), ""));
        assert!(script.contains("rollback") && script.contains("token-file"), "{shell}");
    }
    let (code, script, _) = run(&mut mqtt_gate(["completions", "bash"])).await;
    assert_eq!(code, Some(0));
    assert_eq!(run_with(Command::new("bash").arg("-n").kill_on_drop(true), script.as_bytes()).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_scripts_what_is_good_and_what_is_bad() {
    let (code, printed, error) = run(mqtt_gate(["check", AUTH_CORE, "--json"]).env("MQTT_SIGNATURE_KEY", KEY)).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let good = json_line(&printed);
    assert_eq!((&good["good"], &good["name"], &good["problem"]), (&json!(true), &json!("auth-core"), &Value::Null));
    assert_eq!(good["sha256"], json!(sha256(AUTH_CORE)));
    let (code, printed, error) = run(&mut mqtt_gate(["check", LOCKDOWN, "--json"])).await;
    let bad = json_line(&printed);
    assert_eq!((code, &bad["good"], &bad["name"]), (Some(64), &json!(false), &Value::Null));
    assert!(bad["problem"].as_str().unwrap().contains("clients: missing") && error.lines().count() == 1, "{bad}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_tells_what_a_policy_is_made_of() {
    let (code, printed, error) = run(&mut mqtt_gate(["inspect", AUTH_CORE, "--json"])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let told = json_line(&printed);
    assert_eq!((&told["kind"], &told["name"]), (&json!("component"), &json!("auth-core")));
    assert_eq!(
        (&told["sha256"], &told["size"]),
        (&json!(sha256(AUTH_CORE)), &json!(fs::metadata(AUTH_CORE).unwrap().len()))
    );
    let names = |of: &str| told[of].as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names("exports"), ["mqtt-gate:auth/authenticator@0.1.0", "mqtt-gate:auth/authorizer@0.1.0"]);
    assert_eq!(names("imports"), ["wasi:clocks/wall-clock@0.2.0", "wasi:config/store@0.2.0-rc.1"]);
    assert!(told["imports"].as_array().unwrap().iter().all(|import| import["offered"] == true));
    assert!(names("producers").contains(&json!("wit-component")), "{told}");
    assert_eq!(told["refused_for"], json!([]));
    let (_, printed, _) = run(&mut mqtt_gate(["inspect", AUTH_CORE])).await;
    assert!(
        printed.contains("wall-clock@0.2.0: reads the clock\n") && printed.contains("reads its settings"),
        "{printed}"
    );
}

/// It is never run, so it can be anything.
#[tokio::test(flavor = "multi_thread")]
async fn inspect_says_of_a_file_that_the_gate_would_refuse_why() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file.wasm");
    let greedy = r#"(component
        (import "wasi:filesystem/preopens@0.2.0" (instance))
        (import "wasi:sockets/tcp@0.2.0" (instance))
        (import "evil:a/b@1.0.0" (instance)))"#;
    let whole = fs::read(AUTH_CORE).unwrap();
    for (bytes, kind, refused_for, shown) in [
        (
            wat::parse_str(greedy).unwrap(),
            "component",
            "imports wasi:filesystem/preopens@0.2.0",
            "wasi:filesystem/preopens@0.2.0: files — refused by this gate",
        ),
        (wat::parse_str("(module)").unwrap(), "module", "a core WebAssembly module and not a component", "REFUSED"),
        (whole[..whole.len() - 1].to_vec(), "component", "not whole: ", "not whole"),
    ] {
        fs::write(&file, bytes).unwrap();
        let path = file.to_str().unwrap();
        let (code, printed, error) = run(&mut mqtt_gate(["inspect", path, "--json"])).await;
        assert_eq!((code, error.as_str()), (Some(0), ""));
        let told = json_line(&printed);
        let reasons = told["refused_for"].as_array().unwrap();
        assert_eq!(told["kind"], kind);
        assert!(reasons.iter().any(|reason| reason.as_str().unwrap().starts_with(refused_for)), "{told}");
        let (_, printed, _) = run(&mut mqtt_gate(["inspect", path])).await;
        assert!(printed.contains(shown), "{printed}");
    }
    fs::write(&file, "garbage").unwrap();
    let (code, printed, error) = run(&mut mqtt_gate(["inspect", file.to_str().unwrap()])).await;
    assert_eq!((code, printed.as_str()), (Some(64), ""));
    assert!(error.contains("not WebAssembly"), "{error}");
}

/// The line of the help, as it stands there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_minted_is_asked_in_one_line() {
    let directory = TempDir::new().unwrap();
    fs::copy(AUTH_CORE, directory.path().join("policy.wasm")).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "mqtt-gate mint | mqtt-gate ask policy.wasm"]).current_dir(&directory).kill_on_drop(true);
    let path = format!("{}:{}", program().parent().unwrap().display(), env!("PATH"));
    let (code, printed, error) = run(shell.env("PATH", path).env("MQTT_SIGNATURE_KEY", KEY)).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(printed.starts_with("allow\n") && printed.contains("broker's own rules"), "{printed}");
}

/// A configuration of this text in a file of its own.
fn config(directory: &TempDir, text: &str) -> String {
    let file = directory.path().join("gate.toml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn ask_tells_the_verdict_and_the_grant() {
    let directory = TempDir::new().unwrap();
    let settings = json!({
        "publish-topics": "devices/{mac}/up/#", "session-seconds": "3600",
        "signature-keys": json!([{ "id": "2026-11", "key": KEY }]).to_string(),
    });
    let lines: Vec<String> = settings
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| format!("{name} = '''{}'''", value.as_str().unwrap()))
        .collect();
    let config = config(&directory, &format!("[policy.settings]\n{}", lines.join("\n")));
    let device = Device::genuine();
    let arguments = ["ask", AUTH_CORE, "--config", &config, "--json"];
    let (code, printed, error) = run_with(&mut mqtt_gate(arguments), device.body().to_string().as_bytes()).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let told = json_line(&printed);
    assert_eq!((&told["verdict"], &told["grant"]["access"]), (&json!("allow"), &json!("only")));
    assert_eq!(told["grant"]["publish"], json!(["devices/AA_BB_CC_DD_EE_FF/up/#"]));
    assert_eq!(told["grant"]["key_id"], "2026-11");
    assert!(
        told["grant"]["expires_at"].as_u64() > Some(1_700_000_000)
            && told["microseconds"]["again"].as_f64() > Some(0.0)
    );
    assert_eq!(told["policy"], json!({ "name": "auth-core", "sha256": sha256(AUTH_CORE) }));

    // The same in flags, with the password in a file, and once more with another one on standard input.
    let secret = directory.path().join("secret");
    fs::write(&secret, format!("{}\n", device.password)).unwrap();
    let flags = |password: &str| {
        let mut command = mqtt_gate(["ask", AUTH_CORE, "--config", &config, "--client-id", &device.client_id]);
        command.args([
            "--username",
            USERNAME,
            "--peer-host",
            "10.0.0.1",
            "--attribute",
            "listener=tls",
            "--password-file",
            password,
        ]);
        command
    };
    let (code, printed, _) = run(&mut flags(secret.to_str().unwrap())).await;
    assert_eq!(code, Some(0));
    assert!(
        printed.contains("publish    devices/AA_BB_CC_DD_EE_FF/up/#\n") && printed.contains("key        2026-11\n"),
        "{printed}"
    );
    let (code, printed, error) = run_with(&mut flags("-"), b"password-s3cret").await;
    assert_eq!((code, error.as_str()), (Some(1), ""));
    assert!(printed.starts_with("deny: bad-user-name-or-password\n") && !printed.contains("s3cret"), "{printed}");
}

/// As a gate would make of it: a fault is never an allow.
#[tokio::test(flavor = "multi_thread")]
async fn ask_makes_of_a_policy_that_goes_wrong_what_a_gate_does() {
    for (how, code, verdict, kind) in [
        ("ignore", 1, "ignore", None),
        ("error", 70, "none", Some("no-verdict")),
        ("trap", 70, "none", Some("trap")),
        ("loop", 70, "none", Some("deadline")),
        ("expired", 70, "none", Some("unfit-grant")),
        ("tell me all", 70, "none", Some("no-verdict")),
        ("attributes", 0, "allow", None),
    ] {
        let mut device = Device::causing(how);
        device.password = "password-s3cret".into();
        let mut command = mqtt_gate(["ask", MISBEHAVING, "--json"]);
        let asked = run_with(command.env("MQTT_SIGNATURE_KEY", KEY), device.body().to_string().as_bytes()).await;
        let (exit, printed, error) = asked;
        assert_eq!((exit, error.as_str()), (Some(code), ""), "{how}: {printed}");
        let told = json_line(&printed);
        assert_eq!((&told["verdict"], told["fault"]["kind"].as_str()), (&json!(verdict), kind), "{how}");
        assert!(told["grant"].is_null() == (code != 0));
        assert!(!printed.contains(KEY) && !printed.contains("s3cret"), "{how}: a secret is printed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ask_without_a_login_is_an_operators_mistake() {
    let long = format!(r#"{{"client_id":"{}"}}"#, "x".repeat(70_000));
    for (input, complaint) in [
        ("", "standard input is not a login"),
        ("{\"username\":\"s3cret\"}", "client_id (or clientid) is missing"),
        ("s3cret", "not JSON"),
        (&long, "longer than limits.body"),
    ] {
        let mut command = mqtt_gate(["ask", AUTH_CORE]);
        let (code, printed, error) = run_with(command.env("MQTT_SIGNATURE_KEY", KEY), input.as_bytes()).await;
        assert_eq!((code, printed.as_str()), (Some(64), ""), "{error}");
        assert!(error.contains(complaint) && error.lines().count() == 1 && !error.contains("s3cret"), "{error}");
    }
    let (code, _, error) = run(&mut mqtt_gate(["ask", "--password", "x"])).await;
    assert!(code == Some(64) && error.contains("--password"), "a password is no argument: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_credentials_are_minted_from_the_key_in_a_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("key");
    fs::write(&file, format!("{KEY}\n")).unwrap();
    let (code, printed, error) =
        run(&mut mqtt_gate(["mint", "--key-file", file.to_str().unwrap(), "--count", "20"])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let devices: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: std::collections::BTreeSet<&str> =
        devices.iter().map(|device| device["client_id"].as_str().unwrap()).collect();
    assert_eq!((devices.len(), names.len()), (20, 20));
    let gate = Gate::start(AUTH_CORE).await;
    for device in &devices {
        assert_eq!(gate.ask(&post_json("/mqtt/auth", device)).await.status, 200);
    }
    gate.stop().await;
    for (verb, flag) in [("mint", "--key-file"), ("status", "--token-file"), ("ask", "--password-file")] {
        let mut command = mqtt_gate([verb, flag, "key-s3cret"]);
        if verb == "ask" {
            command.args(["--client-id", "c"]);
        }
        let (code, _, error) = run(&mut command).await;
        // Its name is not repeated: it may be what should be in it.
        assert!(code == Some(64) && error.contains(flag) && !error.contains("s3cret"), "{error}");
    }
}
