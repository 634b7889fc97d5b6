//! A policy: one component that has been checked, with its settings.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use brokers::Credentials;
use sha2::{Digest as _, Sha256};
use wasmparser::{ComponentName, KnownCustom, Parser, Payload};
use wasmtime::component::{Component, types::ComponentItem};
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::instances::Instances;
use crate::one_line;
use crate::sandbox::bindings::PolicyPre;
use crate::sandbox::bindings::exports::mqtt_gate::auth::authenticator as wit;
use crate::sandbox::{Guest, Sandbox};
use crate::settings::{Settings, SettingsError};

pub use wit::{Reason, Verdict};

/// What a component has to export to be a policy.
const AUTHENTICATOR: &str = "mqtt-gate:auth/authenticator@0.1.0";

/// How long `check()` may take. Nobody waits for it, and a loaded machine must not cost a good policy its place.
const CHECK_DEADLINE: Duration = Duration::from_secs(5);

/// The most characters that are shown of what a policy says of itself.
const MOST_SHOWN: usize = 300;

/// For so many calls a policy is suspect after one that ran into the deadline.
const SUSPICION: u32 = 1_000;

/// The SHA-256 of a component: what tells one from another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

/// A component that has been compiled, linked and checked, ready to judge.
///
/// Nothing that a guest does outlives the instance it did it in, and no instance outlives `calls_per_instance` calls.
/// Its settings never change: other settings make another policy.
pub struct Policy {
    name: String,
    digest: Digest,
    settings: Arc<Settings>,
    asked: BTreeSet<String>,
    instances: Instances,
    deadline: Duration,
    suspicion: AtomicU32,
}

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
    /// Its imports or exports have other types than the contract says.
    #[error("does not fit the contract of {AUTHENTICATOR}")]
    Link(#[source] wasmtime::Error),
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
    fn of(error: wasmtime::Error) -> Self {
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

impl Policy {
    /// Compiles, links and checks a component.
    ///
    /// # Errors
    /// The first thing that keeps it from being a policy that works with these settings.
    pub fn load(sandbox: Arc<Sandbox>, component: &[u8], settings: Arc<Settings>) -> Result<Self, LoadError> {
        let template = link(&sandbox, component)?;
        let deadline = sandbox.limits.deadline;
        let mut policy = Self {
            name: name_of(component),
            digest: Digest::of(component),
            settings: Arc::clone(&settings),
            asked: BTreeSet::new(),
            instances: Instances::new(sandbox, template, settings),
            deadline,
            suspicion: AtomicU32::new(0),
        };
        policy.check()?;
        policy.asked = policy.instances.asked();
        policy.warm_up()?;
        Ok(policy)
    }

    /// Judges one client.
    ///
    /// # Errors
    /// There is no verdict: the client is to be refused.
    pub fn authenticate(&self, who: Credentials) -> Result<Verdict, CallError> {
        let who = wit::Credentials {
            client_id: who.client_id,
            username: who.username,
            password: who.password,
            peer_host: who.peer_host,
            attributes: who.attributes,
        };
        self.instances
            .call(self.deadline, |(exports, store)| {
                exports.mqtt_gate_auth_authenticator().call_authenticate(store, &who)
            })
            .map_err(|error| self.suspect_if_slow(CallError::of(error)))?
            .map_err(|error| CallError::NoVerdict(one_line::escaped(&error, MOST_SHOWN)))
    }

    /// Whether a call may well run into the deadline, because one did a short while ago. Counts as one call.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspicion.try_update(Relaxed, Relaxed, |calls| calls.checked_sub(1)).is_ok()
    }

    /// How long a call may take.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    fn suspect_if_slow(&self, error: CallError) -> CallError {
        if matches!(error, CallError::Deadline) {
            self.suspicion.store(SUSPICION, Relaxed);
        }
        error
    }

    /// The name that the component bears, or `unnamed`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digest of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The settings that it has.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether its `check()` asked for this setting, and the setting holds something.
    #[must_use]
    pub fn uses(&self, setting: &str) -> bool {
        self.asked.contains(setting) && self.settings.get(setting).is_some_and(|value| !value.is_empty())
    }

    /// The settings that its `check()` did not ask for: misspelt, or meant for another policy.
    #[must_use]
    pub fn unread_settings(&self) -> Vec<&str> {
        self.settings.names().filter(|name| !self.asked.contains(*name)).collect()
    }

    fn check(&self) -> Result<(), LoadError> {
        self.instances
            .call(CHECK_DEADLINE, |(exports, store)| exports.mqtt_gate_auth_authenticator().call_check(store))
            .map_err(|error| LoadError::Fails { call: "check()", source: CallError::of(error) })?
            .map_err(|error| LoadError::Check(one_line::escaped(&error, MOST_SHOWN)))
    }

    /// One login of nobody, so that the first client does not pay for what is done once, and so that a policy that
    /// traps or is too slow is found out before it serves. What it answers is its own business.
    fn warm_up(&self) -> Result<(), LoadError> {
        match self.authenticate(Credentials { client_id: "mqtt-gate-warm-up".into(), ..Credentials::default() }) {
            Ok(_) | Err(CallError::NoVerdict(_)) => Ok(()),
            Err(source) => Err(LoadError::Fails { call: "first login", source }),
        }
    }
}

/// Compiles a component and makes sure that it is a policy and asks for nothing that it may not have.
fn link(sandbox: &Sandbox, bytes: &[u8]) -> Result<PolicyPre<Guest>, LoadError> {
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err(LoadError::CoreModule);
    }
    let component = Component::from_binary(&sandbox.engine, bytes).map_err(LoadError::Compile)?;
    let kind = component.component_type();
    let foreign: Vec<&str> =
        kind.imports(&sandbox.engine).map(|(name, _)| name).filter(|name| !Sandbox::offers(name)).collect();
    if !foreign.is_empty() {
        return Err(LoadError::Imports(one_line::escaped(&foreign.join(", "), MOST_SHOWN)));
    }
    let authenticator = kind.get_export(&sandbox.engine, AUTHENTICATOR).map(|export| export.ty);
    if !matches!(authenticator, Some(ComponentItem::ComponentInstance(_))) {
        return Err(LoadError::NotAPolicy);
    }
    let instance = sandbox.linker.instantiate_pre(&component).map_err(LoadError::Link)?;
    PolicyPre::new(instance).map_err(LoadError::Link)
}

/// The name in the component's own name section, if it has one.
fn name_of(component: &[u8]) -> String {
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 => {
                if let KnownCustom::ComponentName(mut names) = section.as_known()
                    && let Some(Ok(ComponentName::Component { name, .. })) = names.next()
                {
                    return one_line::escaped(name, 64);
                }
            }
            _ => {}
        }
    }
    "unnamed".to_owned()
}

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
