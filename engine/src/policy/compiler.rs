//! Compiling in another process, so that a component cannot take the time and the memory of the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wasmtime::Engine;

use super::compile_pool::run_once;
use super::engine_config::compile_config;
use crate::util::sanitize;

/// Compiles components. The host that embeds the engine starts the process.
///
/// An implementation starts a process of the same build of this crate, which calls [`compile`] and returns its result.
pub trait Compiler: Send + Sync {
    /// Compiles a component for an engine of this kind. Returns when the process has ended, or soon after the work was
    /// cancelled.
    ///
    /// # Errors
    /// There is no code.
    fn compile(&self, target: CodeTarget, component: &[u8], control: &CompileControl) -> Result<Vec<u8>, CompileError>;
}

/// Properties of the engine that code is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeTarget {
    /// Linear memory of one instance, in bytes.
    pub max_memory: u64,
    /// Whether guard regions check the bounds of memories.
    pub has_guards: bool,
}

/// How one component is compiled.
#[derive(Clone, Default)]
pub struct CompileControl {
    /// Whether policies serve meanwhile, so that only half of the processors are used, at a low priority.
    pub in_background: bool,
    cancelled: Arc<AtomicBool>,
}

impl CompileControl {
    /// Control over compiling while policies serve.
    #[must_use]
    pub fn in_background() -> Self {
        Self { in_background: true, ..Self::default() }
    }

    /// Ends the work. Its result is no longer needed.
    pub fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    /// Whether the work was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }
}

/// Why another process has not compiled a component.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The component is not one that this engine supports. Its text is one line.
    #[error("not a component that this host can run: {0}")]
    Invalid(String),
    /// Compiling took too long.
    #[error("compiling the component takes longer than limits.compile_timeout")]
    Timeout,
    /// Compiling took too much memory.
    #[error("compiling the component takes more memory than limits.max_compile_memory")]
    Memory,
    /// The process ended in a way that it should not, such as by a panic.
    #[error("the compiler failed: {0}")]
    Failed(String),
    /// The work was cancelled.
    #[error("a newer policy file took the place of this one")]
    Cancelled,
    /// The process cannot be started. The host may compile in its own process.
    #[error("cannot start a process that compiles")]
    NoProcess(#[source] std::io::Error),
}

/// Compiles a component in this process, on half of the processors if `in_background`.
///
/// The result is machine code. Load it only from a process of the same program.
///
/// # Errors
/// The component is not valid, or the process cannot have threads.
pub fn compile(target: CodeTarget, component: &[u8], in_background: bool) -> Result<Vec<u8>, CompileError> {
    let invalid = |error: wasmtime::Error| CompileError::Invalid(sanitize::error_chain(error.as_ref()));
    let engine = Engine::new(&compile_config(target)).map_err(invalid)?;
    let compiled = run_once(in_background, || engine.precompile_component(component));
    // The stack of a thread is the first memory that is missing.
    compiled.map_err(|_| CompileError::Memory)?.map_err(invalid)
}
