//! `mqtt-gate inspect`: describes a component without running it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::child::{mqtt_gate, run};
use crate::support::cli_fixture::json_line;
use crate::support::in_process::AUTH_CORE;

pub(super) fn sha256(file: &str) -> String {
    Sha256::digest(fs::read(file).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn inspect_json(file: &Path) -> Value {
    let (code, printed, error) = run(&mut mqtt_gate(["inspect", file.to_str().unwrap(), "--json"])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    json_line(&printed)
}

async fn inspect_text(file: &Path) -> String {
    let (code, printed, error) = run(&mut mqtt_gate(["inspect", file.to_str().unwrap()])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    printed
}

#[tokio::test(flavor = "multi_thread")]
async fn json_describes_a_policy() {
    let report = inspect_json(AUTH_CORE.as_ref()).await;
    assert_eq!((&report["kind"], &report["name"]), (&json!("component"), &json!("auth-core")));
    assert_eq!(report["contract"], "0.2");
    let size = fs::metadata(AUTH_CORE).unwrap().len();
    assert_eq!((&report["sha256"], &report["size"]), (&json!(sha256(AUTH_CORE)), &json!(size)));
    let names =
        |list: &str| report[list].as_array().unwrap().iter().map(|item| item["name"].clone()).collect::<Vec<_>>();
    assert_eq!(
        names("exports"),
        ["mqtt-gate:auth/metadata@0.2.0", "mqtt-gate:auth/authenticator@0.2.0", "mqtt-gate:auth/authorizer@0.2.0"]
    );
    assert_eq!(names("imports"), ["wasi:clocks/wall-clock@0.2.0", "wasi:config/store@0.2.0-rc.1"]);
    assert!(report["imports"].as_array().unwrap().iter().all(|import| import["allowed"] == true));
    assert!(names("producers").contains(&json!("wit-component")), "{report}");
    assert_eq!(report["rejected_for"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_describes_imports() {
    let printed = inspect_text(AUTH_CORE.as_ref()).await;
    assert!(printed.contains("wall-clock@0.2.0: ") && printed.contains("config/store@0.2.0-rc.1: "), "{printed}");
}

fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file.wasm");
    fs::write(&file, bytes).unwrap();
    (directory, file)
}

/// Asserts the kind of a file that the gate would reject, and that the reasons and the text contain `expected`.
async fn assert_objects(bytes: &[u8], kind: &str, expected: &str) {
    let (_directory, file) = file(bytes);
    let report = inspect_json(&file).await;
    assert_eq!(report["kind"], kind);
    let mut reasons = report["rejected_for"].as_array().unwrap().iter();
    assert!(reasons.any(|reason| reason.as_str().unwrap().contains(expected)), "{report}");
    let printed = inspect_text(&file).await;
    assert!(printed.contains("REJECTED") && printed.contains(expected), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_imports_are_objections() {
    let text = r#"(component
        (import "wasi:filesystem/preopens@0.2.0" (instance))
        (import "wasi:sockets/tcp@0.2.0" (instance))
        (import "evil:a/b@1.0.0" (instance)))"#;
    assert_objects(&wat::parse_str(text).unwrap(), "component", "wasi:filesystem/preopens@0.2.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_module_is_an_objection() {
    assert_objects(&wat::parse_str("(module)").unwrap(), "module", "core WebAssembly module").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_component_is_an_objection() {
    let component = fs::read(AUTH_CORE).unwrap();
    let (_directory, file) = file(&component[..component.len() - 1]);
    let report = inspect_json(&file).await;
    assert_eq!(report["kind"], "component");
    assert_ne!(report["rejected_for"], json!([]));
    assert!(inspect_text(&file).await.contains("REJECTED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_exits_64() {
    let (_directory, file) = file(b"garbage");
    let (code, printed, error) = run(&mut mqtt_gate(["inspect", file.to_str().unwrap()])).await;
    assert_eq!((code, printed.as_str()), (Some(64), ""));
    assert!(error.contains("not WebAssembly"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_without_a_name_has_that_of_its_module() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("p.wasm");
    for (text, name) in [
        ("(component $policy (core module $inner))", json!("policy")),
        ("(component (core module $inner.wasm))", json!("inner")),
        ("(component (core module $wit-component:shim) (core module $inner))", json!("inner")),
        ("(component)", json!(null)),
    ] {
        fs::write(&file, wat::parse_str(text).unwrap()).unwrap();
        let (_, printed, _) = run(&mut mqtt_gate(["inspect", file.to_str().unwrap(), "--json"])).await;
        assert_eq!(json_line(&printed)["name"], name, "{text}");
    }
}
