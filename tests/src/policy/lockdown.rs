//! The lockdown policy.

use std::fs;

use tempfile::TempDir;

use crate::support::child::{mqtt_gate, run, write_config};
use crate::support::device::Device;
use crate::support::in_process::{Gate, LOCKDOWN, OPERATOR};

#[tokio::test(flavor = "multi_thread")]
async fn lockdown_allows_listed_clients_only() {
    let gate = Gate::start(LOCKDOWN).await;
    assert_eq!(gate.authenticate(&Device::unsigned(OPERATOR)).await, 200);
    for client_id in ["", "Operator", "operator ", "operator,"] {
        assert_eq!(gate.authenticate(&Device::unsigned(client_id)).await, 401, "{client_id}");
    }
    assert_eq!(gate.authenticate(&Device::valid()).await, 401);
    gate.stop().await;
}

/// A policy that was built against a later version of the contract that is compatible, such as 0.2.7.
#[tokio::test(flavor = "multi_thread")]
async fn a_compatible_version_of_the_contract_serves_and_composes() {
    let (from, to) = (b"mqtt-gate:auth/authenticator@0.2.0", b"mqtt-gate:auth/authenticator@0.2.7");
    let mut component = fs::read(LOCKDOWN).unwrap();
    while let Some(at) = component.windows(from.len()).position(|part| part == from) {
        component[at..at + to.len()].copy_from_slice(to);
    }
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("policy.wasm");
    fs::write(&file, &component).unwrap();
    let gate = Gate::start(file.to_str().unwrap()).await;
    assert_eq!(gate.authenticate(&Device::unsigned(OPERATOR)).await, 200);
    assert_eq!(gate.authenticate(&Device::valid()).await, 401);
    gate.stop().await;
    let config = write_config(directory.path(), "[policy.settings]\nclients = \"a\"");
    let composed = directory.path().join("composed.wasm");
    let arguments = ["compose", file.to_str().unwrap(), "-o", composed.to_str().unwrap()];
    let (code, _, error) = run(&mut mqtt_gate(arguments)).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let (code, printed, error) =
        run(&mut mqtt_gate(["check", file.to_str().unwrap(), "--config", config.to_str().unwrap()])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""), "{printed}");
}
