//! A policy: a component that passed preflight, with its settings.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::limits::PolicyLimits;
use crate::settings::Settings;
use crate::util::sanitize;

mod call_clock;
mod code;
mod compile_pool;
mod compiler;
mod component;
mod contract;
mod description;
mod engine_config;
mod error;
mod inspect;
mod instance_count;
mod instance_group;
mod instance_pool;
mod memory_budget;
mod preflight;
mod prescreen;
mod sandbox;

use call_clock::CallTimeout;
use component::link;
use contract::AuthorizeCall;
use instance_pool::{Call, InstancePool};

pub use compiler::{CodeTarget, CompileControl, CompileError, Compiler, compile};
pub use component::Digest;
pub use contract::{
    AUTHENTICATOR, AUTHORIZER, Access, Action, ContractVersion, Credentials, Denial, DenyReason, Description, Detail,
    Effect, Grant, GrantRequest, Permission, Publication, QosLevels, Rule, RuleAction, SettingDescription, SettingKind,
    Subscription, Topics, Verdict,
};
pub use engine_config::AddressSpace;
pub use error::{CallError, LoadError};
pub use inspect::{ComponentInfo, Import, Producer};
pub use instance_count::InstanceCounter;
pub use instance_group::InstanceGroup;
pub use memory_budget::MemoryBudget;
pub use sandbox::{Sandbox, SandboxError};

/// Maximum number of characters of an error that a policy returns.
const MAX_ERROR_CHARS: usize = 300;

/// Calls for which a policy counts as slow after one that exceeded a timeout.
const SLOW_CALLS: u32 = 1_000;

/// Properties of a component as a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyKind {
    /// The version of the contract that it is called by.
    pub contract: ContractVersion,
    /// Whether it exports the authorizer interface.
    pub has_authorizer: bool,
}

/// Checks that a component is a policy, whatever its settings.
///
/// # Errors
/// The first reason why it is not a policy.
pub fn validate(sandbox: &Sandbox, component: &[u8]) -> Result<PolicyKind, LoadError> {
    let exports = link(sandbox, component, &CompileControl::default())?.exports;
    Ok(PolicyKind { contract: exports.contract(), has_authorizer: exports.has_authorizer() })
}

/// A component that was compiled, linked and passed preflight.
///
/// No state of a guest outlives its instance, and no instance outlives `max_calls_per_instance` calls. The settings of a
/// policy never change: other settings make another policy.
pub struct Policy {
    name: String,
    digest: Digest,
    settings: Arc<Settings>,
    settings_read: BTreeSet<String>,
    /// The description that the policy gives of itself.
    description: Option<Description>,
    /// Key ids that may be shown.
    key_ids: BTreeSet<String>,
    instances: InstancePool,
    /// Processor time of one call, and wall time of one request.
    timeout: CallTimeout,
    slow_calls_left: AtomicU32,
}

/// Bounds of a policy: its own limits, and the group that its instances are counted in.
#[derive(Clone)]
pub(crate) struct PolicyBounds {
    pub(crate) limits: PolicyLimits,
    pub(crate) group: Arc<InstanceGroup>,
}

/// An authorize request of a connected client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// Client identifier. May be empty.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Address of the client, without the port.
    pub peer_host: Option<String>,
    /// All other fields that the broker sent.
    pub attributes: Vec<(String, String)>,
    /// Actions that the client asks for. The policy is called for each of them.
    pub actions: Vec<Action>,
}

impl Policy {
    /// Compiles and links a component, and runs preflight.
    ///
    /// # Errors
    /// The first reason why it is not a policy that works with these settings.
    pub fn load(sandbox: Arc<Sandbox>, component: &[u8], settings: Arc<Settings>) -> Result<Self, LoadError> {
        let (limits, group) = (sandbox.limits().of_policy(), Arc::clone(sandbox.instance_group()));
        let bounds = PolicyBounds { limits, group };
        Self::load_hashed(sandbox, component, Digest::of(component), settings, bounds, &CompileControl::default())
    }

    /// As [`Self::load`], for a caller that has hashed the component already.
    pub(crate) fn load_hashed(
        sandbox: Arc<Sandbox>,
        component: &[u8],
        digest: Digest,
        settings: Arc<Settings>,
        bounds: PolicyBounds,
        control: &CompileControl,
    ) -> Result<Self, LoadError> {
        let linked = sandbox.linked(digest, || link(&sandbox, component, control))?;
        let name = inspect::component_name(component).unwrap_or_else(|| "unnamed".to_owned());
        let limits = bounds.limits.within(sandbox.limits().of_policy());
        let instances = InstancePool::new(sandbox, linked, Arc::clone(&settings), limits, bounds.group);
        Self::preflight(name, digest, settings, instances)
    }

    /// The same component with other settings. Runs preflight again, and compiles nothing.
    ///
    /// # Errors
    /// The component does not work with these settings.
    pub fn with_settings(&self, settings: Arc<Settings>) -> Result<Self, LoadError> {
        self.with_settings_and_limits(settings, self.instances.limits())
    }

    /// As [`Self::with_settings`], with other limits.
    pub(crate) fn with_settings_and_limits(
        &self,
        settings: Arc<Settings>,
        limits: PolicyLimits,
    ) -> Result<Self, LoadError> {
        let instances = self.instances.with_settings(Arc::clone(&settings), limits);
        Self::preflight(self.name.clone(), self.digest, settings, instances)
    }

    fn preflight(
        name: String,
        digest: Digest,
        settings: Arc<Settings>,
        instances: InstancePool,
    ) -> Result<Self, LoadError> {
        let limits = instances.limits();
        let timeout = CallTimeout { cpu: limits.policy_timeout, wall: limits.policy_wall_timeout };
        let (settings_read, slow_calls_left) = (BTreeSet::new(), AtomicU32::new(0));
        let key_ids = settings.key_ids();
        let description = None;
        let mut policy =
            Self { name, digest, settings, settings_read, description, key_ids, instances, timeout, slow_calls_left };
        policy.description = policy.describe()?;
        if let Some(description) = &policy.description {
            description.check_names(policy.settings.names())?;
            description.check_keyrings(policy.settings.keyrings())?;
        }
        if policy.instances.policy().uses_keyrings && policy.settings.keyrings().is_empty() {
            return Err(LoadError::NoKeyRing(None));
        }
        policy.settings_read = policy.check()?;
        policy.probe()?;
        policy.instances.clear_this_thread();
        Ok(policy)
    }

    /// Judges a login, within [`Self::wall_timeout`].
    ///
    /// # Errors
    /// There is no verdict. The caller must deny the client.
    pub fn authenticate(&self, credentials: &Credentials) -> Result<Verdict, CallError> {
        self.authenticate_within(credentials, self.timeout.wall)
    }

    /// As [`Self::authenticate`], within this wall time.
    pub(crate) fn authenticate_within(
        &self,
        credentials: &Credentials,
        max_wall: Duration,
    ) -> Result<Verdict, CallError> {
        let secrets = || {
            let password = credentials.password.as_deref().and_then(|bytes| str::from_utf8(bytes).ok());
            let username = credentials.username.as_deref();
            username.into_iter().chain(password).chain(values(&credentials.attributes)).collect()
        };
        let call = |(exports, store): Call| exports.authenticate(store, credentials);
        Ok(match self.call(max_wall, secrets, call)? {
            Verdict::Allow(grant) => Verdict::Allow(self.without_unknown_key_id(grant)),
            Verdict::Deny(denial) => Verdict::Deny(self.without_unsafe_detail(denial, secrets)),
            Verdict::Ignore => Verdict::Ignore,
        })
    }

    /// Judges every access of a connected client within one timeout and [`Self::wall_timeout`], and returns a permission for each in order.
    ///
    /// A policy without an authorizer answers *ignore*: the broker's own rules decide.
    ///
    /// # Errors
    /// There is no permission for one of them. The caller must deny the client.
    pub fn authorize(&self, request: &AuthorizeRequest) -> Result<Vec<Permission>, CallError> {
        self.authorize_within(request, self.timeout.wall)
    }

    /// As [`Self::authorize`], within this wall time.
    pub(crate) fn authorize_within(
        &self,
        request: &AuthorizeRequest,
        max_wall: Duration,
    ) -> Result<Vec<Permission>, CallError> {
        if !self.has_authorizer() {
            return Ok(vec![Permission::Ignore; request.actions.len()]);
        }
        let secrets = || request.username.as_deref().into_iter().chain(values(&request.attributes)).collect();
        self.call(max_wall, secrets, |(exports, store)| {
            let mut call = AuthorizeCall {
                client_id: request.client_id.clone(),
                username: request.username.clone(),
                peer_host: request.peer_host.clone(),
                action: Action::ConnectWithoutProof,
                attributes: request.attributes.clone(),
            };
            let mut permissions = Vec::with_capacity(request.actions.len());
            for action in &request.actions {
                call.action = action.clone();
                match exports.authorize(store, &call)? {
                    Ok(permission) => permissions.push(permission),
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok(permissions))
        })
    }

    /// Calls the policy within its timeout and this wall time. `secrets` are redacted from the error that it may return.
    fn call<'a, T>(
        &self,
        max_wall: Duration,
        secrets: impl FnOnce() -> Vec<&'a str>,
        call: impl FnOnce(Call) -> wasmtime::Result<Result<T, String>>,
    ) -> Result<T, CallError> {
        self.instances
            .call(CallTimeout { wall: max_wall, ..self.timeout }, call)
            .map_err(|error| self.mark_slow(CallError::new(error)))?
            .map_err(|error| CallError::NoVerdict(self.redact(&error, secrets())))
    }

    /// Removes a key id that no setting names. Key ids are shown to operators, and a policy could name a secret as one, or
    /// a part of it.
    fn without_unknown_key_id(&self, grant: Grant) -> Grant {
        Grant { key_id: grant.key_id.filter(|id| self.key_ids.contains(id)), ..grant }
    }

    /// Removes a detail that is not a code, or that holds a setting or a secret of this call.
    fn without_unsafe_detail<'a>(&self, denial: Denial, secrets: impl FnOnce() -> Vec<&'a str>) -> Denial {
        let detail = denial.detail.filter(|detail| Denial::is_detail(detail));
        Denial { detail: detail.filter(|detail| self.redact(detail, secrets()) == *detail), ..denial }
    }

    /// Redacts the settings and `secrets` from a text of the policy, and makes it fit for a log.
    fn redact(&self, text: &str, secrets: Vec<&str>) -> String {
        let settings = self.settings.secret_parts();
        let settings = settings.iter().map(|part| part.as_str());
        sanitize::escape(&sanitize::redact(text, settings.chain(secrets)), MAX_ERROR_CHARS)
    }

    /// Whether a recent call exceeded a timeout, so that the next one may too. Counts as one call.
    ///
    /// A host should then call the policy where no other client waits for it.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.slow_calls_left.try_update(Relaxed, Relaxed, |calls| calls.checked_sub(1)).is_ok()
    }

    fn mark_slow(&self, error: CallError) -> CallError {
        if matches!(error, CallError::Deadline | CallError::Overloaded) {
            self.slow_calls_left.store(SLOW_CALLS, Relaxed);
        }
        error
    }

    /// Live instances of the policies that share a bound with this one.
    #[must_use]
    pub fn instances_in_group(&self) -> u32 {
        self.instances.group().alive()
    }

    /// Drops the instances that no call runs on.
    pub(crate) fn release_idle_instances(&self) {
        self.instances.clear();
    }

    /// Drops the instances that no call has run on since the last time.
    pub(crate) fn release_unused_instances(&self) {
        self.instances.clear_unused();
    }

    /// Processor time that one call may use.
    #[must_use]
    pub fn cpu_timeout(&self) -> Duration {
        self.timeout.cpu
    }

    /// Wall time that one request may take, whatever the number of its calls.
    #[must_use]
    pub fn wall_timeout(&self) -> Duration {
        self.timeout.wall
    }

    /// Name in the component's name section or of its first module, or `unnamed`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The description that the policy gives of itself. Not verified.
    #[must_use]
    pub fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// SHA-256 of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// As [`Self::settings`], to load another policy with them.
    pub(crate) fn shared_settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }

    /// Settings of this policy.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether `check()` read this setting, and its value is not empty.
    #[must_use]
    pub fn reads(&self, setting: &str) -> bool {
        self.settings_read.contains(setting) && self.settings.get(setting).is_some_and(|value| !value.is_empty())
    }

    /// Version of the contract that the policy is called by.
    #[must_use]
    pub fn contract(&self) -> ContractVersion {
        self.instances.contract()
    }

    /// Whether the policy exports the authorizer interface.
    #[must_use]
    pub fn has_authorizer(&self) -> bool {
        self.instances.has_authorizer()
    }

    /// Names of the settings that `check()` did not read, and of key rings that the policy cannot use: misspelt, or meant
    /// for another policy.
    #[must_use]
    pub fn unused_settings(&self) -> Vec<&str> {
        let rings = self.settings.keyrings().names().filter(|_| !self.instances.policy().uses_keyrings);
        self.settings.names().filter(|name| !self.settings_read.contains(*name)).chain(rings).collect()
    }
}

/// Values of attributes. They may be anything that the operator's template names, even a password.
fn values(attributes: &[(String, String)]) -> impl Iterator<Item = &str> {
    attributes.iter().map(|(_, value)| value.as_str())
}
