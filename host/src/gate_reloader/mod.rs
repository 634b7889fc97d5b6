//! Reloads everything that decides about clients: the chains of all sites, and the configuration file that names them.
//!
//! ```text
//! gate.toml ─► parse ─► load what is new ─► apply: tenants, chains (one atomic store each)
//!                └ failed: keep what is active; status and log say why
//! a policy's files ─► its own reloader (engine::reload)
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use config_reload::ConfigReload;
use loader::{Known, KnownTenant, LoadedSecret, LoadedTenant};
use mqtt_gate_engine::chain::ChainReloader;
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::watch::{Reloadable, Waker, Watched};
use mqtt_gate_engine::{InstanceGroup, SecretSource};

use crate::config::{LockoutConfig, TenantLimits};
use crate::config_file::ConfigFileState;
use crate::decision::ChainEvaluator;
use crate::decision::monitor::MonitorQueue;
use crate::decision::quota::ProcessorQuota;
use crate::decision::refusals::{MAX_REFUSALS, MAX_TENANT_REFUSALS, Refusals};
use crate::http::site::{Site, Sites, TenantSites};
use crate::security::{BrokerSecret, SecretVerifier};
use crate::telemetry::tenant_counters::TenantCounters;

mod config_reload;
mod loader;

pub use config_reload::{ConfigFile, ConfigLoader};
pub use loader::SitesError;
pub(crate) use loader::{LoadedSites, Loader};

/// A tenant that is served.
struct Tenant {
    chain: ChainReloader,
    group: Arc<InstanceGroup>,
    limits: TenantLimits,
    secret: Option<TenantSecret>,
}

/// The secret of a tenant's brokers, and where it is read.
struct TenantSecret {
    source: SecretSource,
    reload: Reloadable<BrokerSecret>,
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

impl TenantSecret {
    /// The secret before goes on, if it is read at the same place: it watches its file itself.
    fn kept_or_new(known: Option<Self>, loaded: Option<LoadedSecret>, waker: Option<&Waker>) -> Option<Self> {
        let LoadedSecret { source, secret } = loaded?;
        if let Some(known) = known.filter(|known| known.source == source) {
            return Some(known);
        }
        let mut reload = Reloadable::new(secret);
        if let Some(waker) = waker {
            reload.set_waker(waker.clone());
        }
        Some(Self { source, reload })
    }

    fn verifier(&self) -> SecretVerifier {
        SecretVerifier::new(Some(self.reload.get().current()))
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
            let known = this.known();
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
            self.loader.count_activation(None);
        }
        self.apply_tenants(tenants);
        self.have_files_changed = true;
        let known = self.known();
        if let Some(config_file) = &mut self.config_file {
            config_file.get_mut().applied(known);
        }
    }

    fn apply_tenants(&mut self, loaded: BTreeMap<Name, LoadedTenant>) {
        let (mut before, served) = (std::mem::take(&mut self.tenants), self.sites.tenants());
        let mut sites = TenantSites::new();
        for (name, LoadedTenant { chain, group, limits, secret }) in loaded {
            let known = before.remove(&name);
            let is_new = known.is_none();
            let limits_before = known.as_ref().map(|tenant| tenant.limits);
            let (known_chain, known_secret) = known.map(|known| (known.chain, known.secret)).unzip();
            let chain = match known_chain {
                Some(mut known) => {
                    if !known.is_unchanged_by(&chain) {
                        known.apply(chain);
                        self.loader.count_activation(Some(name));
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
            let secret = TenantSecret::kept_or_new(known_secret.flatten(), secret, self.waker.as_ref());
            let verifier = secret.as_ref().map_or_else(|| self.secret.clone(), TenantSecret::verifier);
            let site_before = served.get(name.as_str()).filter(|_| !is_new);
            let counters = site_before.and_then(|site| site.counters.clone()).unwrap_or_default();
            let site = match site_before {
                // Refusals and the quota of the tenant go on as they are.
                Some(site) if limits_before == Some(limits) && site.secret.is_same(&verifier) => Arc::clone(site),
                _ => Arc::new(self.site(name, &chain, limits, verifier, counters)),
            };
            sites.insert(name.as_str(), site);
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

    /// What is active, for the next load.
    fn known(&self) -> Known {
        let known = |(&name, tenant): (&Name, &Tenant)| {
            let (members, group) = (tenant.chain.members(), Arc::clone(&tenant.group));
            (name, KnownTenant { members, group })
        };
        Known { gate: self.gate.members(), tenants: self.tenants.iter().map(known).collect() }
    }

    fn watched(&mut self) -> impl Iterator<Item = &mut dyn Watched> {
        let tenants = self.tenants.values_mut().flat_map(|Tenant { chain, secret, .. }| {
            let secret = secret.iter_mut().map(|secret| &mut secret.reload as &mut dyn Watched);
            std::iter::once(chain as &mut dyn Watched).chain(secret)
        });
        let config_file = self.config_file.iter_mut().map(|file| file as &mut dyn Watched);
        std::iter::once(&mut self.gate as &mut dyn Watched).chain(tenants).chain(config_file)
    }
}

impl Watched for GateReloader {
    fn files(&self) -> Vec<PathBuf> {
        let tenants = self.tenants.values().flat_map(|tenant| {
            let secret = tenant.secret.iter().flat_map(|secret| secret.reload.files());
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
