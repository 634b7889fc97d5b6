//! Machine code from a [`super::Compiler`]: the one place where the engine trusts bytes.

use wasmtime::Engine;
use wasmtime::component::Component;

/// Loads the code of a component that a process of this program has compiled.
///
/// # Errors
/// The code is of another version of wasmtime, or for an engine with another configuration.
#[expect(unsafe_code, reason = "machine code cannot be checked")]
pub(super) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` requires code that this version of wasmtime made, unchanged. A `Compiler` gets it through a pipe
    // from a process that it has started itself from this program's own file, so nobody else can write to it. Wasmtime
    // compares its version and the configuration of the engine, which are part of the code.
    unsafe { Component::deserialize(engine, code) }
}
