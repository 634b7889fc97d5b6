//! A policy: one component that has been checked, with its settings.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::policy::instance_pool::Instances;
use crate::util::sanitize;
use crate::policy::sandbox::Sandbox;
use crate::policy::sandbox::bindings::exports::mqtt_gate::auth::{authenticator as wit, authorizer};
use crate::settings::Settings;

mod compile_pool;
mod component;
mod error;
mod inspect;
pub mod instance_count;
mod instance_pool;
mod preflight;
pub mod sandbox;

use component::{link, name_of};

pub use inspect::{Anatomy, Import, Producer};
pub use authorizer::{Action, Permission};
pub use component::Digest;
pub use component::{AUTHENTICATOR, AUTHORIZER};
pub use error::{CallError, LoadError};
pub use wit::{Access, Credentials, Grant, Reason, Verdict};

/// The most characters that are shown of what a policy says of itself.
const MOST_SHOWN: usize = 300;

/// For so many calls a policy is suspect after one that ran into the deadline.
const SUSPICION: u32 = 1_000;

/// Makes sure that a component is a policy and asks for nothing that it may not have, whatever its settings; whether it
/// answers for single actions.
///
/// # Errors
/// The first thing that keeps it from being one.
pub fn examine(sandbox: &Sandbox, component: &[u8]) -> Result<bool, LoadError> {
    Ok(link(sandbox, component)?.authorizer.is_some())
}

/// What a connected client asks to do.
#[derive(Clone, Debug, Default)]
pub struct AuthorizeRequest {
    /// The client identifier. May be empty.
    pub client_id: String,
    /// The user name, if there is one.
    pub username: Option<String>,
    /// The client's address without the port.
    pub peer_host: Option<String>,
    /// Every other field of the request.
    pub attributes: Vec<(String, String)>,
    /// The accesses: an action and a topic each.
    pub accesses: Vec<(Action, String)>,
}

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
        let deadline = sandbox.limits.policy_timeout;
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
        self.instances
            .call(self.deadline, |(exports, store)| exports.authenticator.call_authenticate(store, &who))
            .map_err(|error| self.suspect_if_slow(CallError::of(error)))?
            .map(|verdict| self.without_secrets(verdict, &who))
            .map_err(|error| {
                let password = who.password.as_deref().and_then(|bytes| str::from_utf8(bytes).ok());
                let sent = who.username.as_deref().into_iter().chain(password).chain(values(&who.attributes));
                CallError::NoVerdict(self.shown(&error, sent))
            })
    }

    /// Judges what a connected client wants to do: each access, all within one deadline. A policy that does not answer for
    /// single actions leaves them to the broker.
    ///
    /// # Errors
    /// There is no verdict: the client is to be refused.
    pub fn authorize(&self, asked: AuthorizeRequest) -> Result<Vec<Permission>, CallError> {
        let AuthorizeRequest { client_id, username, peer_host, attributes, accesses } = asked;
        let action = authorizer::Action::Publish;
        let mut request =
            authorizer::Request { client_id, username, peer_host, action, topic: String::new(), attributes };
        if !self.instances.can_authorize() {
            return Ok(vec![Permission::Ignore; accesses.len()]);
        }
        self.instances
            .call(self.deadline, |(exports, store)| {
                let mut permissions = Vec::with_capacity(accesses.len());
                for (action, topic) in accesses {
                    (request.action, request.topic) = (action, topic);
                    match exports.authorize(&mut *store, &request)? {
                        Ok(permission) => permissions.push(permission),
                        Err(error) => return Ok(Err(error)),
                    }
                }
                Ok(Ok(permissions))
            })
            .map_err(|error| self.suspect_if_slow(CallError::of(error)))?
            .map_err(|error| {
                let sent = request.username.as_deref().into_iter().chain(values(&request.attributes));
                CallError::NoVerdict(self.shown(&error, sent))
            })
    }

    /// The id of a key is shown to people. What is a secret of this login or this policy is none.
    fn without_secrets(&self, verdict: Verdict, who: &wit::Credentials) -> Verdict {
        match verdict {
            Verdict::Allow(grant) if grant.key_id.is_some() => {
                let is_secret = |id: &String| {
                    who.password.as_deref() == Some(id.as_bytes()) || self.settings.all().any(|(_, value)| value == id)
                };
                Verdict::Allow(Grant { key_id: grant.key_id.filter(|id| !is_secret(id)), ..grant })
            }
            verdict => verdict,
        }
    }

    /// What a policy says of itself, fit for the log: without its settings or what the client sent, escaped and cut.
    fn shown<'a>(&'a self, text: &str, sent: impl Iterator<Item = &'a str>) -> String {
        let settings = self.settings.all().map(|(_, value)| value);
        sanitize::escaped(&sanitize::without(text, settings.chain(sent)), MOST_SHOWN)
    }

    /// Whether a call may well run into the deadline, because one did a short while ago. Counts as one call.
    pub fn is_suspect(&self) -> bool {
        self.suspicion.try_update(Relaxed, Relaxed, |calls| calls.checked_sub(1)).is_ok()
    }

    /// How long a call may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
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

    /// Whether it answers for single actions.
    #[must_use]
    pub fn can_authorize(&self) -> bool {
        self.instances.can_authorize()
    }

    /// The settings that its `check()` did not ask for: misspelt, or meant for another policy.
    #[must_use]
    pub fn unread_settings(&self) -> Vec<&str> {
        self.settings.names().filter(|name| !self.asked.contains(*name)).collect()
    }
}

/// What attributes hold: anything that the operator has the broker tell, a password under a name of its own included.
fn values(attributes: &[(String, String)]) -> impl Iterator<Item = &str> {
    attributes.iter().map(|(_, value)| value.as_str())
}

impl Reason {
    /// Its name in the contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientIdentifierNotValid => "client-identifier-not-valid",
            Self::BadUserNameOrPassword => "bad-user-name-or-password",
            Self::NotAuthorized => "not-authorized",
            Self::Banned => "banned",
        }
    }
}
