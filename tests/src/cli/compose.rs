//! `mqtt-gate compose`: the composition contains the policy unchanged; what cannot be composed is one line and exit
//! code 64.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wasmparser::{Parser, Payload};

use crate::support::child::{mqtt_gate, run};
use crate::support::composition::Composition;
use crate::support::device::{Device, KEY};
use crate::support::http::Connection;
use crate::support::in_process::{AUTH_CORE, LOCKDOWN, MISBEHAVING, PLAIN};
use crate::support::wasi_http::WasiHttp;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of the components nested in a component.
fn nested(component: &[u8]) -> Vec<&[u8]> {
    let payloads = Parser::new(0).parse_all(component).map(Result::unwrap);
    let range = |payload| match payload {
        Payload::ComponentSection { unchecked_range, .. } => Some(unchecked_range),
        _ => None,
    };
    payloads.filter_map(range).map(|range| &component[range]).collect()
}

async fn assert_contains_policy_unchanged(policy: &str) {
    let bytes = fs::read(policy).unwrap();
    for composition in [Composition::with_config_store(policy).await, Composition::with_settings_from_env(policy).await]
    {
        let composed = fs::read(composition.path()).unwrap();
        let same = nested(&composed).into_iter().filter(|component| sha256(component) == sha256(&bytes));
        assert_eq!(same.collect::<Vec<_>>(), [bytes.as_slice()]);
        let printed = &composition.printed;
        let description = |bytes: &[u8]| format!("{} bytes, sha256 {}", bytes.len(), sha256(bytes));
        assert!(printed.contains(&description(&bytes)) && printed.contains(&description(&composed)), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn composition_contains_the_default_policy_unchanged() {
    assert_contains_policy_unchanged(AUTH_CORE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn composition_contains_lockdown_unchanged() {
    assert_contains_policy_unchanged(LOCKDOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn composition_contains_a_policy_with_an_authorizer_unchanged() {
    assert_contains_policy_unchanged(MISBEHAVING).await;
}

/// Asserts the printed imports of both kinds of composition. `LOCKDOWN` has no authorizer.
async fn assert_prints_imports(policy: &str) {
    let common = "wasi:clocks/wall-clock@0.2.0, wasi:io/error@0.2.0, wasi:io/streams@0.2.0, wasi:http/types@0.2.0";
    for (composition, settings) in [
        (Composition::with_config_store(policy).await, "wasi:config/store@0.2.0-rc.1"),
        (Composition::with_settings_from_env(policy).await, "wasi:cli/environment@0.2.0"),
    ] {
        let printed = &composition.printed;
        assert!(printed.contains(&format!("imports: {common}, {settings}\n")), "{printed}");
        assert!(printed.contains("actions: "), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn composition_imports_http_the_clock_and_settings() {
    assert_prints_imports(AUTH_CORE).await;
    assert_prints_imports(LOCKDOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_tells_whether_the_policy_authorizes_actions() {
    let actions = async |policy| {
        let printed = Composition::with_config_store(policy).await.printed;
        printed.lines().find_map(|line| line.strip_prefix("actions: ")).unwrap().to_owned()
    };
    let (with, without) = (actions(AUTH_CORE).await, actions(LOCKDOWN).await);
    assert!(with.contains("policy") && without.contains("broker"), "{with}; {without}");
}

/// Toolchains import the WASI version that they know. Every 0.2 host accepts earlier ones.
#[tokio::test(flavor = "multi_thread")]
async fn policy_for_a_later_wasi_is_composed_and_works() {
    let [own, later] = ["wasi:clocks/wall-clock@0.2.0", "wasi:clocks/wall-clock@0.2.3"];
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("later.wasm");
    fs::write(&path, replace_bytes(&fs::read(AUTH_CORE).unwrap(), own.as_bytes(), later.as_bytes())).unwrap();
    let composition = Composition::with_config_store(path.to_str().unwrap()).await;
    let printed = &composition.printed;
    assert!(printed.contains(later) && !printed.contains(own), "{printed}");
    let host = WasiHttp::start(composition.path(), &[("signature-keys", KEY), ("session-seconds", "60")]).await;
    let response = Connection::open(host.address).await.request(&Device::valid().request()).await;
    assert!(response.status == 200 && response.json()["expire_at"].is_u64(), "{}", response.text());
}

/// Replaces every occurrence of a text by one of the same length.
fn replace_bytes(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let found: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(old)).collect();
    assert!(!found.is_empty() && old.len() == new.len());
    found.into_iter().for_each(|at| bytes[at..at + new.len()].copy_from_slice(new));
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_without_imports_is_composed_and_works() {
    for composition in [Composition::with_config_store(PLAIN).await, Composition::with_settings_from_env(PLAIN).await] {
        let printed = &composition.printed;
        assert!(!printed.contains("wasi:config") && !printed.contains("wasi:cli"), "{printed}");
        let host = WasiHttp::start(composition.path(), &[]).await;
        for (client_id, status) in [("plain", 200), ("other", 401)] {
            let request = Device::unsigned(client_id).request();
            assert_eq!(Connection::open(host.address).await.request(&request).await.status, status, "{client_id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compositions_are_reproducible() {
    let [first, second] =
        [Composition::with_config_store(AUTH_CORE).await, Composition::with_config_store(AUTH_CORE).await];
    assert!(fs::read(first.path()).unwrap() == fs::read(second.path()).unwrap());
}

/// Asserts that a policy is rejected in one line that contains `expected`, and that an older output file is kept.
async fn assert_rejected(policy: &[u8], expected: &str) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policy.wasm");
    fs::write(&path, policy).unwrap();
    let output = directory.path().join("out.wasm");
    fs::write(&output, "an older composition").unwrap();
    assert_fails(&path, &output, expected).await;
    assert_eq!(fs::read(&output).unwrap(), b"an older composition");
    assert_eq!(temporary_files(directory.path()), Vec::<PathBuf>::new());
}

async fn assert_fails(policy: &Path, output: &Path, expected: &str) {
    let arguments = ["compose", policy.to_str().unwrap(), "-o", output.to_str().unwrap()];
    let (code, printed, error) = run(&mut mqtt_gate(arguments)).await;
    assert_eq!((code, printed.as_str()), (Some(64), ""), "{error}");
    assert!(error.contains(expected) && error.lines().count() == 1, "no {expected:?} in {error}");
}

/// Temporary files of the command in a directory, and beside it with its name.
fn temporary_files(directory: &Path) -> Vec<PathBuf> {
    let around = [directory, directory.parent().unwrap()];
    let paths = around.iter().flat_map(|directory| fs::read_dir(directory).unwrap()).map(|entry| entry.unwrap().path());
    let own = directory.file_name().unwrap().to_string_lossy().into_owned();
    let is_temporary = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.ends_with(".tmp") && (path.starts_with(directory) || name.starts_with(&own))
    };
    paths.filter(is_temporary).collect()
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_garbage() {
    assert_rejected(b"garbage", "not a component").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_truncated_component() {
    assert_rejected(&fs::read(LOCKDOWN).unwrap()[..20_000], "not a component").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_core_module() {
    assert_rejected(&wat("(module)"), "core WebAssembly module").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_component_without_the_authenticator() {
    assert_rejected(&wat("(component)"), "mqtt-gate:auth/authenticator@0.2.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_authenticator_of_other_types() {
    let text = r#"(component (instance $i) (export "mqtt-gate:auth/authenticator@0.2.0" (instance $i)))"#;
    assert_rejected(&wat(text), "contract").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_forbidden_imports() {
    let text = r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#;
    assert_rejected(&wat(text), "imports wasi:cli/environment@0.2.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_composition() {
    let composition = Composition::with_config_store(LOCKDOWN).await;
    assert_rejected(&fs::read(composition.path()).unwrap(), "imports wasi:io/error@0.2.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_missing_policy_file() {
    let directory = TempDir::new().unwrap();
    assert_fails("/nowhere/policy.wasm".as_ref(), &directory.path().join("out.wasm"), "/nowhere/policy.wasm").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_output_in_a_missing_directory() {
    let directory = TempDir::new().unwrap();
    assert_fails(LOCKDOWN.as_ref(), &directory.path().join("nowhere/out.wasm"), "cannot write").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_directory_as_output() {
    let directory = TempDir::new().unwrap();
    assert_fails(LOCKDOWN.as_ref(), directory.path(), "cannot write").await;
    assert_eq!(temporary_files(directory.path()), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_the_policy_file_as_output() {
    let directory = TempDir::new().unwrap();
    let policy = directory.path().join("policy.wasm");
    fs::copy(LOCKDOWN, &policy).unwrap();
    assert_fails(&policy, &policy, "policy").await;
    assert_eq!(fs::read(&policy).unwrap(), fs::read(LOCKDOWN).unwrap());
}
