//! `mqtt-gate compose`: what it writes holds the policy as it is, and what it cannot compose it says on a line.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wasmparser::{Parser, Payload};

use crate::support::child::{mqtt_gate, run};
use crate::support::composition::Composition;
use crate::support::device::{Device, KEY};
use crate::support::http::Connection;
use crate::support::in_process::{AUTH_CORE, LOCKDOWN, MISBEHAVING};
use crate::support::wasi_http::WasiHttp;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The components within a component, as their bytes.
fn nested(component: &[u8]) -> Vec<&[u8]> {
    let payloads = Parser::new(0).parse_all(component).map(Result::unwrap);
    let range = |payload| match payload {
        Payload::ComponentSection { unchecked_range, .. } => Some(unchecked_range),
        _ => None,
    };
    payloads.filter_map(range).map(|range| &component[range]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_lies_in_its_composition_byte_for_byte() {
    for policy in [AUTH_CORE, LOCKDOWN, MISBEHAVING] {
        let bytes = fs::read(policy).unwrap();
        for composition in [Composition::of(policy).await, Composition::with_settings_from_env(policy).await] {
            let composed = fs::read(composition.path()).unwrap();
            let same = nested(&composed).into_iter().filter(|component| sha256(component) == sha256(&bytes));
            assert_eq!(same.collect::<Vec<_>>(), [bytes.as_slice()], "{policy}");
            let said = &composition.said;
            let described = |bytes: &[u8]| format!("{} bytes, sha256 {}", bytes.len(), sha256(bytes));
            assert!(said.contains(&described(&bytes)) && said.contains(&described(&composed)), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_composition_asks_for_http_the_clock_and_its_settings_and_says_so() {
    let common = "wasi:clocks/wall-clock@0.2.0, wasi:io/error@0.2.0, wasi:io/streams@0.2.0, wasi:http/types@0.2.0";
    for (policy, actions) in [(AUTH_CORE, "judged by the policy"), (LOCKDOWN, "left to the broker")] {
        for (composition, settings) in [
            (Composition::of(policy).await, "wasi:config/store@0.2.0-rc.1"),
            (Composition::with_settings_from_env(policy).await, "wasi:cli/environment@0.2.0"),
        ] {
            let said = &composition.said;
            assert!(said.contains(&format!("imports: {common}, {settings}\n")), "{said}");
            assert!(said.contains(&format!("actions: {actions}\n")), "{said}");
        }
    }
}

/// Toolchains name the WASI that they know: each 0.2 serves those before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_for_a_later_wasi_is_composed_and_works() {
    let [own, later] = ["wasi:clocks/wall-clock@0.2.0", "wasi:clocks/wall-clock@0.2.3"];
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("later.wasm");
    fs::write(&path, replaced(&fs::read(AUTH_CORE).unwrap(), own.as_bytes(), later.as_bytes())).unwrap();
    let composition = Composition::of(path.to_str().unwrap()).await;
    assert!(composition.said.contains(later) && !composition.said.contains(own), "{}", composition.said);
    let host = WasiHttp::start(composition.path(), &[("signature-keys", KEY), ("session-seconds", "60")]).await;
    let answer = Connection::open(host.address).await.ask(&Device::genuine().request()).await;
    assert!(answer.status == 200 && answer.json()["expire_at"].is_u64(), "{}", answer.text());
}

/// The bytes with one text for another of the same length.
fn replaced(bytes: &[u8], text: &[u8], by: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(text)).collect();
    assert!(!places.is_empty() && text.len() == by.len());
    places.into_iter().for_each(|at| bytes[at..at + by.len()].copy_from_slice(by));
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_policy_makes_the_same_composition() {
    let [one, other] = [Composition::of(AUTH_CORE).await, Composition::of(AUTH_CORE).await];
    assert!(fs::read(one.path()).unwrap() == fs::read(other.path()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_composed_is_one_line_and_exit_64_and_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let wat = |name: &str, text: &str| file(name, &wat::parse_str(text).unwrap());
    let foreign = r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#;
    let misfit = r#"(component (instance $i) (export "mqtt-gate:auth/authenticator@0.1.0" (instance $i)))"#;
    let composition = Composition::of(LOCKDOWN).await;
    let nowhere = directory.path().join("nowhere/out.wasm").display().to_string();
    let out = file("out.wasm", b"what was there before");
    for (policy, out, complaint) in [
        (file("garbage", b"garbage"), &out, "not a component"),
        (file("half", &fs::read(LOCKDOWN).unwrap()[..20_000]), &out, "not a component"),
        (wat("module", "(module)"), &out, "core WebAssembly module"),
        (wat("empty", "(component)"), &out, "does not export mqtt-gate:auth/authenticator@0.1.0"),
        (wat("foreign", foreign), &out, "imports wasi:cli/environment@0.2.0"),
        (wat("misfit", misfit), &out, "does not fit the contract"),
        (composition.path().display().to_string(), &out, "imports wasi:io/error@0.2.0"),
        ("/nowhere/policy.wasm".into(), &out, "cannot read /nowhere/policy.wasm"),
        (LOCKDOWN.into(), &nowhere, "cannot write"),
        (LOCKDOWN.into(), &directory.path().display().to_string(), "cannot write"),
        (out.clone(), &out, "this is the policy itself"),
    ] {
        let (code, said, error) = run(&mut mqtt_gate(["compose", &policy, "-o", out])).await;
        assert_eq!((code, said.as_str()), (Some(64), ""), "{complaint}: {error}");
        assert!(error.contains(complaint) && error.lines().count() == 1, "{complaint}: {error}");
    }
    assert_eq!(fs::read(&out).unwrap(), b"what was there before");
    assert!(unfinished(directory.path()).is_empty(), "{:?}", unfinished(directory.path()));
}

fn unfinished(directory: &Path) -> Vec<String> {
    let around = [directory, directory.parent().unwrap()];
    let names = around.iter().flat_map(|directory| fs::read_dir(directory).unwrap());
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let own = directory.file_name().unwrap().to_string_lossy().into_owned();
    names.filter(|name| name.ends_with(".tmp") && (name.starts_with("out.wasm") || name.starts_with(&own))).collect()
}
