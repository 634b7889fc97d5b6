//! A policy: one component that has been checked, with its settings.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use brokers::Credentials;

use crate::instances::{Call, Instances};
use crate::one_line;
use crate::sandbox::Sandbox;
use crate::sandbox::bindings::exports::mqtt_gate::auth::authenticator as wit;
use crate::settings::Settings;

mod component;
mod faults;

use component::{link, name_of};

pub use component::Digest;
pub use faults::{CallError, LoadError};
pub use wit::{Reason, Verdict};

/// How long a call may take that no client waits for. A loaded machine must not cost a good policy its place.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many logins of nobody are tried within the deadline, before a policy is called too slow.
const WARM_LOGINS: usize = 5;

/// The most characters that are shown of what a policy says of itself.
const MOST_SHOWN: usize = 300;

/// For so many calls a policy is suspect after one that ran into the deadline.
const SUSPICION: u32 = 1_000;

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
        policy.asked = policy.check()?;
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
            .map_err(|error| {
                let password = who.password.as_deref().and_then(|bytes| str::from_utf8(bytes).ok());
                CallError::NoVerdict(self.shown(&error, who.username.as_deref().into_iter().chain(password)))
            })
    }

    /// What a policy says of itself, fit for the log: without its settings or what the client sent, escaped and cut.
    fn shown<'a>(&'a self, text: &str, sent: impl Iterator<Item = &'a str>) -> String {
        let settings = self.settings.all().map(|(_, value)| value);
        one_line::escaped(&one_line::without(text, settings.chain(sent)), MOST_SHOWN)
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

    /// Asks the policy whether it can work; the settings that it looked at.
    fn check(&self) -> Result<BTreeSet<String>, LoadError> {
        let check = |(exports, store): Call| {
            let answer = exports.mqtt_gate_auth_authenticator().call_check(&mut *store)?;
            Ok(answer.map(|()| store.data().asked.clone()))
        };
        self.instances
            .call(PATIENCE, check)
            .map_err(|error| LoadError::Fails { call: "check()", source: CallError::of(error) })?
            .map_err(|error| LoadError::Check(self.shown(&error, std::iter::empty())))
    }

    /// Logins of nobody, so that the first client does not pay for what is done once, and so that a policy that traps
    /// or is too slow is found out before it serves. What it answers is its own business.
    ///
    /// The first may take its time. One of the others has to keep the deadline; on a loaded machine not each of them will.
    fn warm_up(&self) -> Result<(), LoadError> {
        let mut tried = self.try_login(PATIENCE);
        for _ in 0..WARM_LOGINS {
            if !matches!(tried, Ok(()) | Err(CallError::Deadline)) {
                break;
            }
            tried = self.try_login(self.deadline);
            if tried.is_ok() {
                break;
            }
        }
        tried.map_err(|source| LoadError::Fails { call: "first login", source })
    }

    fn try_login(&self, deadline: Duration) -> Result<(), CallError> {
        let nobody = wit::Credentials {
            client_id: "mqtt-gate-warm-up".into(),
            username: None,
            password: None,
            peer_host: None,
            attributes: Vec::new(),
        };
        let login = |(exports, store): Call| exports.mqtt_gate_auth_authenticator().call_authenticate(store, &nobody);
        // Its own word that it has no verdict on nobody is as good as any other.
        self.instances.call(deadline, login).map(drop).map_err(CallError::of)
    }
}
