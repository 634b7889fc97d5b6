//! Reloads everything that decides about clients: the chains of all sites, and the configuration file that names them.
//!
//! ```text
//! gate.toml ─► parse ─► load what is new ─► apply: tenants, chains (one atomic store each)
//!                └ failed: keep what is active; status and log say why
//! a policy's files ─► its own reloader (engine::reload)
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use mqtt_gate_engine::chain::{
    ChainChange, ChainMembers, ChainReloader, ChainSource, MemberError, MemberSetup, MemberSource,
};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::watch::{Load, Reload, Reloadable, Waker, Watched};
use mqtt_gate_engine::{
    ActiveChain, InstanceGroup, LastKnownGood, Observer, PolicyEvent, PolicySource, Sandbox, StateInUse, StateOwner,
};
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError, LockoutConfig, PolicyChain, PolicyConfig, TenantConfig, TenantLimits};
use crate::config_file::{ConfigFileState, changed_keys, keys_for_restart};
use crate::decision::ChainEvaluator;
use crate::decision::monitor::MonitorQueue;
use crate::decision::quota::ProcessorQuota;
use crate::decision::refusals::{MAX_REFUSALS, MAX_TENANT_REFUSALS, Refusals};
use crate::emqx_api::cache_reset::CacheReset;
use crate::http::site::{Site, Sites, TenantSites};
use crate::security::{BrokerSecret, SecretVerifier, SecurityError, load_broker_secret};
use crate::telemetry::tenant_counters::TenantCounters;
use crate::{builtin, policy_events, systemd};

/// Reads a configuration from its text: flags override it, and its variables are resolved.
pub type ConfigLoader = Box<dyn Fn(&str) -> Result<Config, ConfigError> + Send + Sync>;

/// The configuration file of a gate.
pub struct ConfigFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Its text when the gate was started.
    pub text: Zeroizing<String>,
    /// Reads it again.
    pub load: ConfigLoader,
}

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
    fn is_transient(&self) -> bool {
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
    gate_chain: Arc<OnceLock<ActiveChain>>,
}

/// The sites that are active, for the thread that loads the next ones.
#[derive(Clone, Default)]
struct Known {
    gate: ChainMembers,
    tenants: BTreeMap<Name, KnownTenant>,
}

#[derive(Clone)]
struct KnownTenant {
    members: ChainMembers,
    group: Arc<InstanceGroup>,
}

/// Sites that were loaded, ready to be applied together.
pub(crate) struct LoadedSites {
    gate: ChainChange,
    tenants: BTreeMap<Name, LoadedTenant>,
    config: Box<Config>,
}

struct LoadedTenant {
    chain: ChainChange,
    group: Arc<InstanceGroup>,
    limits: TenantLimits,
    secret: Option<BrokerSecret>,
}

/// A tenant that is served.
struct Tenant {
    chain: ChainReloader,
    group: Arc<InstanceGroup>,
    limits: TenantLimits,
    secret: Option<Reloadable<BrokerSecret>>,
}

/// Reloads the policies of all sites. Runs on the watch thread, and is the one writer of the tenants.
pub(crate) struct GateReloader {
    gate: ChainReloader,
    tenants: BTreeMap<Name, Tenant>,
    sites: Arc<Sites<ChainEvaluator>>,
    config_file: Option<Reloadable<ConfigReload>>,
    loader: Loader,
    monitors: MonitorQueue,
    secret: SecretVerifier,
    lockout: Option<LockoutConfig>,
    waker: Option<Waker>,
    have_files_changed: bool,
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
    fn load(&self, config: Config, known: &Known) -> Result<LoadedSites, SitesError> {
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
                loader.count_activation();
                if let (None, Some(chain)) = (tenant, loader.gate_chain.get()) {
                    systemd::swapped(&chain.load());
                }
            }
        })
    }

    fn count_activation(&self) {
        let generation = self.activations.fetch_add(1, Relaxed).saturating_add(1);
        self.cache_reset.request(generation);
    }
}

impl LoadedSites {
    fn known_after(gate: &ChainReloader, tenants: &BTreeMap<Name, Tenant>) -> Known {
        let known = |(&name, tenant): (&Name, &Tenant)| {
            let (members, group) = (tenant.chain.members(), Arc::clone(&tenant.group));
            (name, KnownTenant { members, group })
        };
        Known { gate: gate.members(), tenants: tenants.iter().map(known).collect() }
    }
}

impl GateReloader {
    /// Activates the first sites.
    pub(crate) fn start(
        loaded: LoadedSites,
        loader: Loader,
        monitors: MonitorQueue,
        secret: SecretVerifier,
        config_file: Option<(ConfigFile, ConfigFileState)>,
    ) -> Self {
        let LoadedSites { gate, tenants, config } = loaded;
        let gate = ChainReloader::start(gate);
        let _ = loader.gate_chain.set(gate.active());
        let evaluator = ChainEvaluator::new(gate.active(), None, None, monitors.clone());
        let refusals = Refusals::new(config.lockout, MAX_REFUSALS, Instant::now());
        let site = Site { tenant: None, evaluator, refusals, secret: secret.clone(), counters: None };
        let mut this = Self {
            gate,
            tenants: BTreeMap::new(),
            sites: Arc::new(Sites::new(site)),
            config_file: None,
            loader,
            monitors,
            secret,
            lockout: config.lockout,
            waker: None,
            have_files_changed: false,
        };
        this.apply_tenants(tenants);
        this.config_file = config_file.map(|(file, state)| {
            let known = LoadedSites::known_after(&this.gate, &this.tenants);
            Reloadable::new(ConfigReload::new(file, this.loader.clone(), known, state))
        });
        this
    }

    /// Creates a reader of the sites.
    pub(crate) fn sites(&self) -> Arc<Sites<ChainEvaluator>> {
        Arc::clone(&self.sites)
    }

    /// Makes the sites of another configuration the active ones.
    fn apply(&mut self, loaded: LoadedSites) {
        let LoadedSites { gate, tenants, .. } = loaded;
        if !self.gate.is_unchanged_by(&gate) {
            self.gate.apply(gate);
            self.loader.count_activation();
        }
        self.apply_tenants(tenants);
        self.have_files_changed = true;
        let known = LoadedSites::known_after(&self.gate, &self.tenants);
        if let Some(config_file) = &mut self.config_file {
            config_file.get_mut().known = known;
        }
    }

    fn apply_tenants(&mut self, loaded: BTreeMap<Name, LoadedTenant>) {
        let (mut before, served) = (std::mem::take(&mut self.tenants), self.sites.tenants());
        let mut sites = TenantSites::new();
        for (name, LoadedTenant { chain, group, limits, secret }) in loaded {
            let known = before.remove(&name);
            let is_new = known.is_none();
            let limits_before = known.as_ref().map(|tenant| tenant.limits);
            let chain = match known {
                Some(Tenant { chain: mut known, .. }) => {
                    if !known.is_unchanged_by(&chain) {
                        known.apply(chain);
                        self.loader.count_activation();
                    }
                    known
                }
                None => {
                    let mut chain = ChainReloader::start(chain);
                    if let Some(waker) = &self.waker {
                        chain.set_waker(waker.clone());
                    }
                    chain
                }
            };
            let verifier = secret
                .as_ref()
                .map_or_else(|| self.secret.clone(), |secret| SecretVerifier::new(Some(secret.current())));
            let site_before = served.get(name.as_str()).filter(|_| !is_new);
            let counters = site_before.and_then(|site| site.counters.clone()).unwrap_or_default();
            let site = match site_before {
                // Refusals and the quota of the tenant go on as they are.
                Some(site) if limits_before == Some(limits) && secret.is_none() && site.secret.is_same(&verifier) => {
                    Arc::clone(site)
                }
                _ => Arc::new(self.site(name, &chain, limits, verifier, counters)),
            };
            sites.insert(name.as_str(), site);
            let secret = secret.map(Reloadable::new);
            self.tenants.insert(name, Tenant { chain, group, limits, secret });
        }
        for name in before.keys() {
            tracing::info!(tenant = name.as_str(), "tenant removed");
        }
        self.sites.set_tenants(sites);
    }

    fn site(
        &self,
        name: Name,
        chain: &ChainReloader,
        limits: TenantLimits,
        secret: SecretVerifier,
        counters: Arc<TenantCounters>,
    ) -> Site<ChainEvaluator> {
        let now = Instant::now();
        let quota = limits.processors.map(|share| ProcessorQuota::new(share, now));
        Site {
            tenant: Some(name),
            evaluator: ChainEvaluator::new(chain.active(), Some(name), quota, self.monitors.of_tenant(name)),
            refusals: Refusals::new(self.lockout, MAX_TENANT_REFUSALS, now),
            secret,
            counters: Some(counters),
        }
    }

    fn watched(&mut self) -> impl Iterator<Item = &mut dyn Watched> {
        let tenants = self.tenants.values_mut().flat_map(|Tenant { chain, secret, .. }| {
            let secret = secret.iter_mut().map(|secret| secret as &mut dyn Watched);
            std::iter::once(chain as &mut dyn Watched).chain(secret)
        });
        let config_file = self.config_file.iter_mut().map(|file| file as &mut dyn Watched);
        std::iter::once(&mut self.gate as &mut dyn Watched).chain(tenants).chain(config_file)
    }
}

impl Watched for GateReloader {
    fn files(&self) -> Vec<PathBuf> {
        let tenants = self.tenants.values().flat_map(|tenant| {
            let secret = tenant.secret.iter().flat_map(|secret| secret.files());
            tenant.chain.files().into_iter().chain(secret)
        });
        let config_file = self.config_file.iter().flat_map(|file| file.files());
        self.gate.files().into_iter().chain(tenants).chain(config_file).collect()
    }

    fn take_files_changed(&mut self) -> bool {
        std::mem::take(&mut self.have_files_changed)
    }

    fn poll(&mut self, now: Instant) -> Option<Instant> {
        let due = self.watched().filter_map(|it| it.poll(now)).min();
        match self.config_file.as_mut().and_then(|file| file.get_mut().loaded.take()) {
            Some(loaded) => {
                self.apply(loaded);
                // New files are looked at before the thread sleeps.
                Some(now)
            }
            None => due,
        }
    }

    fn set_waker(&mut self, waker: Waker) {
        self.watched().for_each(|it| it.set_waker(waker.clone()));
        self.waker = Some(waker);
    }
}

/// Reloads the configuration file.
struct ConfigReload {
    file: Arc<ConfigFile>,
    loader: Loader,
    known: Known,
    state: ConfigFileState,
    /// Text that is active.
    active: Zeroizing<String>,
    /// What needs a restart, as the gate was started with it.
    started_with: toml::Table,
    /// Sites for [`GateReloader`] to apply.
    loaded: Option<LoadedSites>,
    waker: Option<Waker>,
}

impl ConfigReload {
    fn new(file: ConfigFile, loader: Loader, known: Known, state: ConfigFileState) -> Self {
        state.set_active(SystemTime::now(), Vec::new());
        let (active, started_with) = (file.text.clone(), keys_for_restart(&file.text));
        Self { file: Arc::new(file), loader, known, state, active, started_with, loaded: None, waker: None }
    }
}

impl Reload for ConfigReload {
    type Contents = Zeroizing<String>;
    type Value = LoadedSites;
    type Error = SitesError;

    fn files(&self) -> Vec<PathBuf> {
        vec![self.file.path.clone()]
    }

    fn read(&self) -> Result<Self::Contents, SitesError> {
        Ok(crate::config::read_text(&self.file.path)?.into())
    }

    fn load(&self, text: &Self::Contents) -> Result<LoadedSites, SitesError> {
        self.loader.load((self.file.load)(text)?, &self.known)
    }

    /// New policies may take long to compile.
    fn load_aside(&mut self, text: &Self::Contents) -> Option<Load<Result<LoadedSites, SitesError>>> {
        let (file, loader, known, text) =
            (Arc::clone(&self.file), self.loader.clone(), self.known.clone(), text.clone());
        let load = move || loader.load((file.load)(&text)?, &known);
        Load::spawn(load, || {}, self.waker.clone()).ok()
    }

    fn is_active(&self, text: &Self::Contents) -> bool {
        *text == self.active
    }

    fn activate(&mut self, text: Self::Contents, loaded: LoadedSites) {
        let needs_restart = changed_keys(&self.started_with, &keys_for_restart(&text));
        if !needs_restart.is_empty() {
            let keys = needs_restart.join(", ");
            tracing::warn!(keys, hint = "restart the gate to apply them", "configuration keys need a restart");
        }
        self.state.set_active(SystemTime::now(), needs_restart);
        self.active = text;
        self.loaded = Some(loaded);
        tracing::info!(path = %self.file.path.display(), "configuration reloaded");
    }

    fn reject(&mut self, _text: Option<&Self::Contents>, reason: &str) {
        self.state.set_error(Some((reason.to_owned(), SystemTime::now())));
        let hint = "correct the file; it is read again when it changes";
        tracing::error!(path = %self.file.path.display(), reason, hint, "configuration rejected; keeping the active one");
    }

    fn restore(&mut self) {
        self.state.set_error(None);
        tracing::info!(path = %self.file.path.display(), "configuration file matches the active configuration again");
    }

    fn is_transient(error: &SitesError) -> bool {
        error.is_transient()
    }

    fn set_waker(&mut self, waker: Waker) {
        self.waker = Some(waker);
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
