//! What can go wrong with a policy, typed for those who act on it.

use std::io;
use std::path::PathBuf;

use wasmtime::{PoolConcurrencyLimitError, Trap};

use super::component::AUTHENTICATOR;
use crate::settings::SettingsError;

/// Why a policy could not be put in service. The one before it stays.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A setting has no value.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The file is a core module.
    #[error("a core WebAssembly module and not a component; wrap it with `wasm-tools component new`")]
    CoreModule,
    /// The file is something else, or is not whole.
    #[error("not a component this host can run")]
    Compile(#[source] wasmtime::Error),
    /// It asks for more than a policy may have.
    #[error("imports {0}; a policy may import wasi:clocks/wall-clock@0.2.0 and wasi:config/store@0.2.0-rc.1 alone")]
    Imports(String),
    /// It is a component of another kind.
    #[error("does not export {AUTHENTICATOR}, so it is not a policy")]
    NotAPolicy,
    /// Its imports have other types than the host gives them.
    #[error("does not fit what the host offers")]
    Link(#[source] wasmtime::Error),
    /// Its exports have other types than the contract says.
    #[error("does not fit the contract of {contract}")]
    Contract {
        /// The interface.
        contract: &'static str,
        /// Where it differs.
        source: wasmtime::Error,
    },
    /// Loading it made the host panic: a fault of ours.
    #[error("loading it failed inside the host; this is a fault of mqtt-gate, please report it")]
    Panicked,
    /// Its `check()` says no.
    #[error("the policy refuses its settings: {0}")]
    Check(String),
    /// It fails already where no client is waiting.
    #[error("the policy fails in its {call}")]
    Fails {
        /// What it was called for.
        call: &'static str,
        /// How it failed.
        source: CallError,
    },
}

impl LoadError {
    /// Whether the component is at fault: it is not there, or would work with no settings at all. What refuses its
    /// settings does not count: those are the operator's to mend.
    #[must_use]
    pub fn is_of_component(&self) -> bool {
        !matches!(self, Self::Settings(_) | Self::Check(_))
    }

    /// Whether the same component might load at another time.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Fails { source, .. } => matches!(source, CallError::Deadline | CallError::Busy),
            Self::Read { .. } | Self::Settings(_) => true,
            _ => false,
        }
    }
}

/// Why there is no verdict. The client is refused.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It ran into the deadline.
    #[error("the policy took longer than the deadline")]
    Deadline,
    /// Every instance that can be is at work.
    #[error("no instance is free")]
    Busy,
    /// It says itself that it cannot judge.
    #[error("the policy has no verdict: {0}")]
    NoVerdict(String),
    /// It trapped.
    #[error("the policy trapped: {0}")]
    Trap(Trap),
    /// The host panicked: a fault of ours.
    #[error("the call failed inside the host; this is a fault of mqtt-gate, please report it")]
    Panicked,
    /// Its answer is too large, or not one; or the instance cannot be made.
    #[error("the call failed")]
    Failed(#[source] wasmtime::Error),
}

impl CallError {
    pub(super) fn of(error: wasmtime::Error) -> Self {
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::Deadline,
            Some(trap) => Self::Trap(*trap),
            None if error.is::<PoolConcurrencyLimitError>() => Self::Busy,
            None => Self::Failed(error),
        }
    }

    /// The kind of fault, in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Busy => "busy",
            Self::NoVerdict(_) => "no-verdict",
            Self::Trap(_) => "trap",
            Self::Panicked => "panicked",
            Self::Failed(_) => "failed",
        }
    }
}
