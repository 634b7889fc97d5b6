//! Machine code from a [`super::Compiler`]: the one place where the engine trusts bytes.

use wasmtime::Engine;
use wasmtime::component::Component;

/// Loads the code of a component that a process of this program has compiled.
///
/// # Errors
/// The code is of another version of wasmtime, or for an engine with another configuration.
#[expect(unsafe_code, reason = "machine code cannot be checked")]
pub(super) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` requires unchanged code of this version of wasmtime. A `Compiler` starts a process from the file
    // of this program and reads the code from a pipe to it. No other process can write to that pipe. Wasmtime compares its
    // version and the configuration of the engine, which are part of the code.
    unsafe { Component::deserialize(engine, code) }
}
