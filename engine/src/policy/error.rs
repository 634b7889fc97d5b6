//! Failures of a policy, typed by what the caller does about them.

use std::io;
use std::path::PathBuf;

use wasmtime::{PoolConcurrencyLimitError, Trap};

use super::compiler::CompileError;
use super::contract::{AUTHENTICATOR, ContractVersion};
use super::instance_group::GroupExhausted;
use super::memory_budget::MemoryBudgetExceeded;
use crate::settings::SettingsError;

/// A policy that cannot be activated. The active policy stays.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Path of the component.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A setting has no value.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The file is a core module.
    #[error("this is a core WebAssembly module, not a component; wrap it with `wasm-tools component new`")]
    CoreModule,
    /// The file is not a component, or not a complete one.
    #[error("not a component that this host can run")]
    Compile(#[source] wasmtime::Error),
    /// Another process has not compiled the component.
    #[error(transparent)]
    Compiler(#[from] CompileError),
    /// The component is too large or too deep to compile it in a short time and with little memory.
    #[error("the component has too many {what}; at most {max} are allowed")]
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The component imports interfaces that a policy may not have.
    #[error(
        "the policy imports {0}; only wasi:clocks/wall-clock@0.2.0, wasi:config/store@0.2.0-rc.1 and mqtt-gate:auth/keyring@0.2.0 are allowed"
    )]
    Imports(String),
    /// The component does not export the authenticator interface.
    #[error("the component does not export {AUTHENTICATOR}, so it is not a policy{}", other_version(.0))]
    NotAPolicy(
        /// The version of the contract that it was built against, if it was built against another one.
        Option<String>,
    ),
    /// The authorizer belongs to another version of the contract than the authenticator.
    #[error(
        "the policy exports the authenticator of contract {contract} and the authorizer of contract {authorizer}; build \
         both against the same version"
    )]
    ForeignAuthorizer {
        /// The version of the authenticator.
        contract: ContractVersion,
        /// The version of the authorizer.
        authorizer: String,
    },
    /// The component has more memory from the start than an instance may have.
    #[error(
        "the component needs {needed} bytes of memory from the start, for its stack and data, and limits.max_memory allows \
         {max}; raise the limit, or build the component with a smaller stack (-z stack-size=65536)"
    )]
    InitialMemory {
        /// Bytes that it needs.
        needed: u64,
        /// `limits.max_memory`.
        max: u64,
    },
    /// The types of its imports differ from those of the host.
    #[error("the policy's imports do not fit the interfaces of this host")]
    Link(#[source] wasmtime::Error),
    /// The types of its exports differ from those of the contract.
    #[error("the policy does not fit the contract of {contract}")]
    Contract {
        /// Name of the interface.
        contract: &'static str,
        /// The difference.
        source: wasmtime::Error,
    },
    /// The host panicked while it loaded the policy.
    #[error("loading the policy panicked; this is a fault of mqtt-gate, please report it")]
    HostPanic,
    /// The policy was active, and was replaced by the one before.
    #[error("the policy failed 20 calls in a row after it was activated, and never allowed anything")]
    FailsEveryCall,
    /// The name of a setting is almost that of a setting that the policy declares.
    #[error("the policy has no setting `{name}`, but one named `{declared}`; correct the name")]
    MisspeltSetting {
        /// The name that the operator wrote.
        name: String,
        /// The name that was meant.
        declared: String,
    },
    /// The policy uses key rings, and the operator granted none.
    #[error("the policy verifies by key rings{}; grant them in [policy.keyrings], or use another policy", named(.0))]
    NoKeyRing(
        /// The ring that it requires, if it names one.
        Option<String>,
    ),
    /// The policy's `check()` returned an error.
    #[error("the policy rejects its settings: {0}")]
    Check(String),
    /// A preflight call failed.
    #[error("the policy failed its {call}")]
    Preflight {
        /// Name of the call.
        call: &'static str,
        /// The failure.
        source: CallError,
    },
}

impl LoadError {
    /// Whether the component is at fault, and not its settings.
    ///
    /// Only then does the last known good policy replace it at startup. Settings are the operator's to fix.
    #[must_use]
    pub fn is_of_component(&self) -> bool {
        !matches!(self, Self::Settings(_) | Self::Check(_) | Self::MisspeltSetting { .. } | Self::NoKeyRing(_))
    }

    /// Whether the same component may load at another time.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Preflight { source, .. } => {
                matches!(source, CallError::Deadline | CallError::Overloaded | CallError::PoolExhausted)
            }

            // The machine may have been busy.
            Self::Compiler(error) => matches!(error, CompileError::Timeout),
            Self::Read { .. } | Self::Settings(_) => true,
            _ => false,
        }
    }
}

fn named(ring: &Option<String>) -> String {
    ring.as_deref().map(|ring| format!(" and requires the one named `{ring}`")).unwrap_or_default()
}

fn other_version(version: &Option<String>) -> String {
    version.as_deref().map(|version| format!("; {}", unserved_contract(version))).unwrap_or_default()
}

/// Says that a component was built against a version of the contract that this gate does not serve.
pub(super) fn unserved_contract(version: &str) -> String {
    let [new, old] = ContractVersion::ALL;
    format!("it was built against contract {version}; this gate serves {old} and {new}")
}

/// A call without a verdict. The client must be denied.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call used more processor time than its timeout.
    #[error("the policy exceeded limits.policy_timeout")]
    Deadline,
    /// The machine was too busy to finish the call in time. The policy has not used up its timeout.
    #[error("the machine is too busy: the call took longer than limits.policy_wall_timeout")]
    Overloaded,
    /// All instances are at work, or have all the memory that instances may have together.
    #[error("no policy instance is free")]
    PoolExhausted,
    /// The tenant has used its share of processor time. The policy was not called.
    #[error("the tenant has used its share of processor time")]
    QuotaExceeded,
    /// The policy returned an error. Its text may repeat what an earlier client sent to the same instance, so it is not
    /// part of the message. Secrets of this call and of the settings are redacted.
    #[error("the policy returned an error")]
    NoVerdict(String),
    /// The policy trapped.
    #[error("the policy trapped: {0}")]
    Trap(Trap),
    /// The policy asked for more memory than it may have, and then trapped: it cannot go on without.
    #[error("the policy needs more memory than limits.max_memory, and trapped: {0}")]
    OutOfMemory(Trap),
    /// An export of the policy has another type than in the contract.
    #[error("the type of an export differs from the contract; build the policy against the WIT of this gate")]
    ContractMismatch(#[source] wasmtime::Error),
    /// The host panicked.
    #[error("the call panicked in the host; this is a fault of mqtt-gate, please report it")]
    HostPanic,
    /// The result is too large or malformed, or the instance cannot be created.
    #[error("the call failed")]
    CallFailed(#[source] wasmtime::Error),
}

impl CallError {
    pub(super) fn new(error: wasmtime::Error) -> Self {
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::Deadline,
            Some(trap) if error.is::<MemoryLimitReached>() => Self::OutOfMemory(*trap),
            Some(trap) => Self::Trap(*trap),
            None if error.is::<ExportMismatch>() => Self::ContractMismatch(error),
            None if error.is::<Overloaded>() => Self::Overloaded,
            None if is_pool_exhausted(&error) => Self::PoolExhausted,
            None => Self::CallFailed(error),
        }
    }

    /// The text of an error that the policy returned. Show it only to whoever debugs the policy.
    #[must_use]
    pub fn policy_text(&self) -> Option<&str> {
        match self {
            Self::NoVerdict(text) => Some(text),
            _ => None,
        }
    }

    /// Short code for metrics and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Overloaded => "overloaded",
            Self::PoolExhausted => "pool-exhausted",
            Self::QuotaExceeded => "tenant-quota",
            Self::NoVerdict(_) => "no-verdict",
            Self::Trap(_) | Self::OutOfMemory(_) => "trap",
            Self::HostPanic => "host-panic",
            Self::CallFailed(_) | Self::ContractMismatch(_) => "call-failed",
        }
    }
}

/// Context of a trap after a memory could not grow.
#[derive(Debug, thiserror::Error)]
#[error("limits.max_memory was reached")]
pub(super) struct MemoryLimitReached;

/// Context of an export whose type differs from the contract.
#[derive(Debug, thiserror::Error)]
#[error("an export does not fit the contract")]
pub(super) struct ExportMismatch;

/// Ends a call whose wall time is over.
#[derive(Debug, thiserror::Error)]
#[error("the wall time of the call is over")]
pub(super) struct Overloaded;

/// Whether a call failed because of the instances at work.
pub(super) fn is_pool_exhausted(error: &wasmtime::Error) -> bool {
    error.is::<PoolConcurrencyLimitError>() || error.is::<MemoryBudgetExceeded>() || error.is::<GroupExhausted>()
}
