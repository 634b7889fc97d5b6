//! Candidates that would take a compiler minutes and hundreds of megabytes are refused before they are compiled.

use crate::support::bomb::{component, section};
use crate::support::device::Device;
use crate::support::in_process::{AUTH_CORE, Gate};

async fn assert_refused(bomb: &[u8], expected: &str) {
    let gate = Gate::start(AUTH_CORE).await;
    gate.rename_policy(bomb);
    let status = gate.wait_for_rejection(1).await;
    let reason = status["rejected"]["last"]["reason"].as_str().unwrap();
    assert!(reason.contains(expected), "{reason}");
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_nested_blocks_are_refused() {
    let nested = 500_000;
    let code = [[0x02, 0x40].repeat(nested), vec![0x0b; nested + 1]].concat();
    assert_refused(&component(&[code]), "too many").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_is_bounded_in_small_functions_too() {
    let nested = 5_000;
    let code = [[0x02, 0x40].repeat(nested), vec![0x0b; nested + 1]].concat();
    assert_refused(&component(&[code]), "too many blocks within blocks; at most 4000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_functions_are_refused() {
    assert_refused(&component(&vec![vec![0x0b]; 50_000]), "too many functions; at most 30000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nine_hundred_core_instances_are_refused() {
    let instances = "(core instance (instantiate $m))".repeat(900);
    let text = format!("(component (core module $m (memory 1)) {instances})");
    assert_refused(&wat::parse_str(text).unwrap(), "too many core instances; at most 32").await;
}

/// Instances of nested components count when they are compiled.
#[tokio::test(flavor = "multi_thread")]
async fn nested_components_cannot_multiply_memories() {
    let instances = "(instance (instantiate $c))".repeat(30);
    let text =
        format!("(component (component $c (core module $m (memory 1)) (core instance (instantiate $m))) {instances})");
    assert_refused(&wat::parse_str(text).unwrap(), "30 Wasm linear memories").await;
}

/// The compiler never sees a component that imports too much, however large it is.
#[tokio::test(flavor = "multi_thread")]
async fn surplus_imports_are_found_before_compiling() {
    // Not valid behind the import: a compiler would say so.
    let mut component = wat::parse_str(r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)))"#).unwrap();
    component.extend(section(1, b"\0asm\x01\0\0\0\x0a\x04\x01\x02\x00\xff"));
    assert_refused(&component, "wasi:sockets/tcp@0.2.0").await;
}
