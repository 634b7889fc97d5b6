//! Runs mqtt-gate policies: WebAssembly components that judge MQTT clients.
//!
//! The engine loads a policy, checks it before it goes live, calls it within limits, and swaps it while it runs. It knows
//! nothing of HTTP, brokers or async runtimes, so that a gate, a proxy module and a broker plugin can embed it.
//!
//! | module | contents |
//! | --- | --- |
//! | [`util`] | files, sanitized text, thread index |
//! | [`settings`], [`limits`] | what the operator configures for a policy |
//! | [`watch`] | one thread that finds changed files and reloads what is made of them |
//! | [`policy`] | the sandbox, the instance pool, preflight, calls |
//! | [`reload`] | the active policy, the swap, the history, the last known good policy |
//! | [`chain`] | several policies that are asked in order |
//!
//! A policy has no file, no network and no environment. A call ends within [`Limits::policy_timeout`]. An error of a call
//! is never a verdict: the caller must deny the client.
//!
//! # Example
//!
//! Load a policy, judge one client, and swap the policy when its file changes:
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use mqtt_gate_engine::watch::WatchThread;
//! use mqtt_gate_engine::{Credentials, Limits, PolicyReloader, PolicySource, Sandbox, SettingSources, Verdict};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut settings = SettingSources::default();
//! settings.set_from_file("signature-keys", "/etc/mqtt-gate/keys".into());
//! let source = PolicySource::file("/etc/mqtt-gate/policy.wasm".into(), settings);
//!
//! let sandbox = Arc::new(Sandbox::new(Limits::default())?);
//! let reloader = PolicyReloader::start(source, sandbox, None, Box::new(|_event| {}))?;
//! let active = reloader.active();
//!
//! // From here on, a policy that is copied over the file is checked and becomes the active one.
//! let _watch = WatchThread::spawn(vec![reloader.into_watched()], Duration::from_secs(2), |error| eprintln!("{error}"))?;
//!
//! let credentials = Credentials {
//!     client_id: "GID_test@@@02_00_00_00_00_01@@@0001".to_owned(),
//!     username: None,
//!     password: None,
//!     authentication_method: None,
//!     authentication_data: None,
//!     peer_host: None,
//!     attributes: Vec::new(),
//! };
//! let is_allowed = match active.get().authenticate(&credentials) {
//!     Ok(Verdict::Allow(_grant)) => true,
//!     Ok(Verdict::Deny(_) | Verdict::Ignore) => false,
//!     // Fail closed.
//!     Err(_) => false,
//! };
//! # let _ = is_allowed;
//! # Ok(())
//! # }
//! ```

pub mod chain;
pub mod keyring;
pub mod limits;
pub mod policy;
pub mod reload;
pub mod settings;
pub mod util;
pub mod watch;

pub use chain::{ActiveChain, Chain, ChainEvaluation, Decider};
pub use limits::{Limits, PolicyLimits};
pub use policy::{
    AUTHENTICATOR, AUTHORIZER, Access, Action, AddressSpace, AuthorizeRequest, CallError, CodeTarget, CompileControl,
    CompileError, Compiler, ComponentInfo, ContractVersion, Credentials, Denial, DenyReason, Description, Detail,
    Digest, Effect, Grant, GrantRequest, Import, InstanceCounter, InstanceGroup, LoadError, MemoryBudget, Permission,
    Policy, PolicyKind, Producer, Publication, QosLevels, Rule, RuleAction, Sandbox, SandboxError, SettingDescription,
    SettingKind, Subscription, Topics, Verdict, compile, validate,
};
pub use reload::{
    ActivePolicy, ActivePolicyWriter, ActiveVersion, Candidate, History, HistoryEvent, HistoryEventKind, HistoryReader,
    LastKnownGood, Loading, Observer, Part, PolicyEvent, PolicyOrigin, PolicyReloader, PolicySource, Rejection,
    StateInUse, StateOwner,
};
pub use settings::{KeyRingSource, SecretSource, SettingSources, Settings, SettingsError};
