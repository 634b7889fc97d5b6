//! Policies are compiled in a child process, with a limit of time and memory.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::bomb::{large_component, slow_component};
use crate::support::child::{GateProcess, mqtt_gate, run, serve_command, write_config};
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, LOCKDOWN};
use crate::support::poll_until;

/// A policy file, and a configuration with these limits.
fn site(component: &[u8], limits: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let policy = directory.path().join("policy.wasm");
    fs::write(&policy, component).unwrap();
    let state = directory.path().join("state");
    let settings = "[policy.settings]\nsignature-keys = { env = \"MQTT_SIGNATURE_KEY\" }\nclients = \"operator\"";
    let text = format!("policy.file = {policy:?}\nstate.directory = {state:?}\n{settings}\n[limits]\n{limits}");
    write_config(directory.path(), &text);
    directory
}

fn config(site: &TempDir) -> std::path::PathBuf {
    site.path().join("gate.toml")
}

fn replace_policy(site: &TempDir, component: impl AsRef<[u8]>) {
    let new = site.path().join("policy.new");
    fs::write(&new, component).unwrap();
    fs::rename(new, site.path().join("policy.wasm")).unwrap();
}

async fn wait_until(gate: &GateProcess, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    poll_until(what, async || {
        let status = Connection::open(gate.admin).await.request(&get("/status")).await.json();
        condition(&status).then_some(status)
    })
    .await
}

async fn login(gate: &GateProcess) -> u16 {
    Connection::open(gate.auth).await.request(&Device::valid().request()).await.status
}

/// Child processes of the threads of a process.
fn children(process: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok()).collect()
}

/// An incident policy must not wait for a component that takes long.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_policy_takes_the_place_of_one_that_compiles() {
    let site = site(&fs::read(AUTH_CORE).unwrap(), "compile_timeout = \"1h\"\nmax_compile_memory = \"8GiB\"");
    let gate = GateProcess::start_config(&config(&site)).await;
    replace_policy(&site, slow_component());
    let status = wait_until(&gate, "the policy is compiled", |status| status["compiling"].is_object()).await;
    assert_ne!(status["compiling"]["sha256"], status["policy"]["sha256"]);
    assert_eq!(login(&gate).await, 200);
    replace_policy(&site, fs::read(LOCKDOWN).unwrap());
    let status = wait_until(&gate, "the lockdown is active", |status| status["policy"]["name"] == "lockdown").await;
    assert!(status["compiling"].is_null());
    assert_eq!(login(&gate).await, 401);
    let process = gate.child.id().unwrap();
    poll_until("the compiler has ended", async || children(process).is_empty().then_some(())).await;
    gate.stop().await;
}

async fn assert_refused(component: &[u8], limits: &str, expected: &str) {
    let site = site(component, limits);
    let (policy, config) = (site.path().join("policy.wasm"), config(&site));
    let mut check = mqtt_gate(["check", "--config", config.to_str().unwrap(), policy.to_str().unwrap()]);
    let (code, _, error) = run(check.env("MQTT_SIGNATURE_KEY", KEY)).await;
    assert_eq!(code, Some(64), "{error}");
    assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compiling_ends_after_the_timeout() {
    let limits = "compile_timeout = \"100ms\"\nmax_compile_memory = \"8GiB\"";
    assert_refused(&slow_component(), limits, "limits.compile_timeout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compiling_ends_at_the_limit_of_memory() {
    let limits = "compile_timeout = \"1h\"\nmax_compile_memory = \"64MiB\"";
    assert_refused(&large_component(), limits, "limits.max_compile_memory").await;
}

/// The child says what is wrong with the component.
#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_component_is_refused_with_the_reason() {
    assert_refused(b"garbage", "", "magic header not detected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_policy_that_takes_too_long_serves_the_last_known_good_one() {
    let site = site(&fs::read(AUTH_CORE).unwrap(), "compile_timeout = \"15s\"\nmax_compile_memory = \"8GiB\"");
    let gate = GateProcess::start_config(&config(&site)).await;
    let is_kept = |file: &Path| file.extension().is_some_and(|extension| extension == "wasm");
    poll_until("the policy is kept", async || {
        let mut files = fs::read_dir(site.path().join("state")).ok()?.map(|entry| entry.unwrap().path());
        files.any(|file| is_kept(&file)).then_some(())
    })
    .await;
    gate.stop().await;
    replace_policy(&site, slow_component());
    let gate = GateProcess::start(&mut serve_command(&config(&site))).await;
    assert!(gate.startup_log.contains("limits.compile_timeout"), "{}", gate.startup_log);
    assert_eq!(login(&gate).await, 200);
    let status = wait_until(&gate, "the gate serves", |_| true).await;
    assert_eq!(status["policy"]["origin"], "last-known-good");
    gate.stop().await;
}
