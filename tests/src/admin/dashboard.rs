//! The operator's page in a real browser: what it shows of a calm gate, and of one in trouble.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::child::PATIENCE;
use crate::support::device::Device;
use crate::support::http::{Connection, get, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, MISBEHAVING};

/// What the browser has made of the page once it has asked the gate a few times.
async fn shown(gate: &Gate) -> String {
    shown_at(gate.admin).await
}

/// The same, of the gate with this admin address.
pub(crate) async fn shown_at(admin: SocketAddr) -> String {
    let profile = TempDir::new().unwrap();
    let output = Command::new(browser())
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=4000", "--dump-dom", &format!("http://{admin}/")])
        .env("HOME", profile.path())
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, output).await.expect("the browser ends").expect("the browser starts");
    let page = String::from_utf8(output.stdout).unwrap();
    let body = page.split_once("<body").unwrap_or_else(|| panic!("no page: {page}")).1;
    body.split_once("<script>").unwrap().0.to_owned()
}

fn browser() -> PathBuf {
    let paths = ["chromium", "chromium-browser", "google-chrome"].map(|name| PathBuf::from("/usr/bin").join(name));
    paths.into_iter().find(|path| path.exists()).expect("install chromium: `make test` does it as root")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_calm_gate_says_who_serves_and_that_all_is_well() {
    let gate = Gate::start(AUTH_CORE).await;
    for _ in 0..3 {
        assert_eq!(gate.connect(&Device::genuine()).await, 200);
    }
    assert_eq!(gate.connect(&Device::named("<i>nobody</i>")).await, 401);
    let status = gate.status().await;
    let page = shown(&gate).await;
    for text in [
        "All is well: logins are judged",
        "auth-core",
        status["policy"]["sha256"].as_str().unwrap(),
        "3 in all",
        "1 in all",
        "client id malformed, or of a group that is not let in",
    ] {
        assert!(page.contains(text), "no {text:?} in {page}");
    }
    assert!(!page.contains("class=\"trouble\"") && !page.contains("nobody"), "{page}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_gate_in_trouble_says_what_to_do() {
    let gate = Gate::start_with(MISBEHAVING, |config| config.policy.settings.set("grops", "x".into())).await;
    gate.connect(&Device { password: "x".into(), ..Device::causing("trap") }).await;
    gate.ask(&post_json("/emqx/auth", &serde_json::json!({ "clientid": "${clientid}", "username": "u" }))).await;
    gate.write_policy(b"garbage");
    gate.until_rejected(1).await;
    let page = shown(&gate).await;
    for text in [
        "This needs you",
        "A candidate was refused",
        "Put a better file in its place",
        "the member holds a literal ${…} (clientid), once",
        "no verdict: the policy trapped",
        "Settings that this policy does not read:",
        "class=\"trouble\"",
    ] {
        assert!(page.contains(text), "no {text:?} in {page}");
    }
    gate.write_policy(&std::fs::read(MISBEHAVING).unwrap());
    gate.until("it is known to be over", |status| status["history"][0]["event"] == "restored").await;
    assert!(!shown(&gate).await.contains("A candidate was refused"));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_may_run_its_own_script_alone_and_ask_nobody_else() {
    let gate = Gate::start(AUTH_CORE).await;
    let answer = Connection::open(gate.admin).await.ask(&get("/")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; connect-src 'self'; script-src 'sha256-"), "{policy}");
    // The name of SVG alone is an address.
    assert_eq!(answer.text().matches("://").count(), 1);
    gate.stop().await;
}
