//! Loads the policies of all sites. Changes nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use mqtt_gate_engine::chain::{ChainChange, ChainMembers, ChainSource, MemberError, MemberSetup, MemberSource};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{
    ActiveChain, InstanceGroup, LastKnownGood, Observer, PolicyEvent, PolicySource, Sandbox, SecretSource, StateInUse,
    StateOwner,
};

use crate::config::{Config, ConfigError, PolicyChain, PolicyConfig, TenantConfig, TenantLimits};
use crate::emqx_api::cache_reset::CacheReset;
use crate::security::{BrokerSecret, SecurityError, load_broker_secret};
use crate::{builtin, policy_events, systemd};

/// Why the policies of a configuration cannot be used. Those before stay active.
#[derive(Debug, thiserror::Error)]
pub enum SitesError {
    /// The file cannot be read or is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A policy of the gate does not work.
    #[error(transparent)]
    Policy(#[from] MemberError),
    /// A policy of a tenant does not work.
    #[error("tenant `{tenant}`")]
    TenantPolicy {
        /// Name of the tenant.
        tenant: Name,
        /// The problem.
        source: MemberError,
    },
    /// The secret of a tenant cannot be used.
    #[error("tenant `{tenant}`")]
    TenantSecret {
        /// Name of the tenant.
        tenant: Name,
        /// The problem.
        source: SecurityError,
    },
}

impl SitesError {
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Policy(error) | Self::TenantPolicy { source: error, .. } => error.source.is_transient(),
            Self::TenantSecret { .. } => true,
            Self::Config(_) => false,
        }
    }
}

/// What every policy is loaded with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Loader {
    sandbox: Arc<Sandbox>,
    cache_reset: CacheReset,
    /// Activations of all policies together.
    activations: Arc<AtomicU64>,
    /// Empty until the first chain is active.
    pub(super) gate_chain: Arc<OnceLock<ActiveChain>>,
}

/// The sites that are active, for the thread that loads the next ones.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) gate: ChainMembers,
    pub(super) tenants: BTreeMap<Name, KnownTenant>,
}

#[derive(Clone)]
pub(super) struct KnownTenant {
    pub(super) members: ChainMembers,
    pub(super) group: Arc<InstanceGroup>,
}

/// Sites that were loaded, ready to be applied together.
pub(crate) struct LoadedSites {
    pub(super) gate: ChainChange,
    pub(super) tenants: BTreeMap<Name, LoadedTenant>,
    pub(super) config: Box<Config>,
}

/// The secret of a tenant's brokers.
pub(super) struct LoadedSecret {
    /// Where it was read.
    pub(super) source: SecretSource,
    pub(super) secret: BrokerSecret,
}

pub(super) struct LoadedTenant {
    pub(super) chain: ChainChange,
    pub(super) group: Arc<InstanceGroup>,
    pub(super) limits: TenantLimits,
    pub(super) secret: Option<LoadedSecret>,
}

impl Loader {
    pub(crate) fn new(sandbox: Arc<Sandbox>, cache_reset: CacheReset) -> Self {
        Self { sandbox, cache_reset, activations: Arc::default(), gate_chain: Arc::default() }
    }

    /// Counter of the activations of all policies together.
    pub(crate) fn activations(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.activations)
    }

    /// Loads the first sites.
    pub(crate) fn load_first(&self, config: Config) -> Result<LoadedSites, SitesError> {
        self.load(config, &Known::default())
    }

    /// Loads what the configuration names and what is not active yet. Changes nothing.
    pub(super) fn load(&self, config: Config, known: &Known) -> Result<LoadedSites, SitesError> {
        let source = self.chain_source(&config, &config.policy, None);
        let setup = |member: &MemberSource| self.setup(&config, &config.policy, None, member);
        let gate = known.gate.load(&source, &self.sandbox, setup)?;
        let mut tenants = BTreeMap::new();
        for (&name, tenant) in &config.tenant.0 {
            let known = known.tenants.get(&name);
            tenants.insert(name, self.load_tenant(&config, name, tenant, known)?);
        }
        Ok(LoadedSites { gate, tenants, config: Box::new(config) })
    }

    fn load_tenant(
        &self,
        config: &Config,
        name: Name,
        tenant: &TenantConfig,
        known: Option<&KnownTenant>,
    ) -> Result<LoadedTenant, SitesError> {
        let max = tenant.limits.max_instances.map(|max| max.get());
        // Policies in another group are other policies, so the group of a tenant is kept while its limit is.
        let kept = known.filter(|known| known.group.max() == max).map(|known| Arc::clone(&known.group));
        let group = kept.unwrap_or_else(|| Arc::new(InstanceGroup::new(max)));
        let source = self.chain_source(config, &tenant.policy, Some(&group));
        let setup = |member: &MemberSource| self.setup(config, &tenant.policy, Some(name), member);
        let members = known.map(|known| known.members.clone()).unwrap_or_default();
        let chain = members.load(&source, &self.sandbox, setup);
        let chain = chain.map_err(|source| SitesError::TenantPolicy { tenant: name, source })?;
        let secret = tenant.access.broker_secret.as_ref().map(load_broker_secret).transpose();
        let secret = secret.map_err(|source| SitesError::TenantSecret { tenant: name, source })?;
        let source = tenant.access.broker_secret.clone();
        let secret = source.zip(secret).map(|(source, secret)| LoadedSecret { source, secret });
        Ok(LoadedTenant { chain, group, limits: tenant.limits, secret })
    }

    fn chain_source(&self, config: &Config, chain: &PolicyChain, group: Option<&Arc<InstanceGroup>>) -> ChainSource {
        let member = |policy: &PolicyConfig| {
            let source = policy_source(policy).with_limits(policy.limits.engine(&config.limits));
            let source = group.map_or(source.clone(), |group| source.in_group(Arc::clone(group)));
            let name = policy.name().unwrap_or(Name::none());
            MemberSource { name, mode: policy.engine_mode(), when: policy.when.clone(), source }
        };
        ChainSource { members: chain.iter().map(member).collect() }
    }

    /// The observer and the state directory of a new policy.
    fn setup(
        &self,
        config: &Config,
        chain: &PolicyChain,
        tenant: Option<Name>,
        member: &MemberSource,
    ) -> Result<MemberSetup, StateInUse> {
        let observer = self.observer(tenant, member.name, !chain.others.is_empty());
        let policy = chain.iter().find(|policy| policy.name() == Some(member.name));
        let last_known_good = policy.map(|policy| last_known_good(config, policy, tenant, &observer)).transpose()?;
        Ok(MemberSetup { observer, last_known_good: last_known_good.flatten() })
    }

    /// Logs the events of a policy. After each activation, the caches of brokers are reset.
    fn observer(&self, tenant: Option<Name>, name: Name, is_one_of_several: bool) -> Observer {
        let loader = self.clone();
        Box::new(move |event| {
            let is_of_gate_alone = tenant.is_none() && !is_one_of_several;
            let span = tracing::error_span!("policy", tenant = tenant.map(Name::as_str), policy = name.as_str());
            let _entered = (!is_of_gate_alone).then(|| span.enter());
            policy_events::observe(event);
            if matches!(event, PolicyEvent::Loaded(_) | PolicyEvent::Activated { .. }) {
                loader.count_activation(tenant);
                if let (None, Some(chain)) = (tenant, loader.gate_chain.get()) {
                    systemd::swapped(&chain.load());
                }
            }
        })
    }

    pub(super) fn count_activation(&self, tenant: Option<Name>) {
        let generation = self.activations.fetch_add(1, Relaxed).saturating_add(1);
        self.cache_reset.request(generation, tenant);
    }
}

fn policy_source(config: &PolicyConfig) -> PolicySource {
    match &config.file {
        Some(path) => PolicySource::file(path.clone(), config.settings.clone()),
        None => PolicySource::embedded(builtin::component(config.builtin), config.settings.clone()),
    }
}

/// Opens the state directory of a policy. There is none for an embedded policy, which cannot be broken.
///
/// A named policy has a directory of its own in that of the gate.
fn last_known_good(
    config: &Config,
    policy: &PolicyConfig,
    tenant: Option<Name>,
    observer: &Observer,
) -> Result<Option<LastKnownGood>, StateInUse> {
    let (Some(file), Some(directory)) = (&policy.file, &config.state.directory) else { return Ok(None) };
    let directory = match tenant {
        Some(tenant) => directory.join("tenants").join(tenant.as_str()),
        None => directory.clone(),
    };
    let directory = policy.name.map_or(directory.clone(), |name| directory.join("policies").join(name.as_str()));
    let owner = StateOwner::new(file, &config.state.gate_id);
    // A gate that stops answers its last requests that long.
    LastKnownGood::open(directory, owner, config.limits.drain_timeout, observer).map(Some)
}
