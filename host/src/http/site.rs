//! Sites: the gate's own policies, and those of each tenant below `/t/NAME`.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mqtt_gate_engine::util::name::Name;

use crate::decision::refusals::Refusals;
use crate::security::SecretVerifier;
use crate::telemetry::tenant_counters::TenantCounters;

/// What answers the requests below one path.
pub(crate) struct Site<E> {
    /// Absent: the gate's own.
    pub(crate) tenant: Option<Name>,
    pub(crate) evaluator: E,
    pub(crate) refusals: Refusals,
    pub(crate) secret: SecretVerifier,
    /// Absent: the counters of the gate are enough.
    pub(crate) counters: Option<Arc<TenantCounters>>,
}

/// The sites by name.
pub(crate) type TenantSites<E> = HashMap<&'static str, Arc<Site<E>>>;

/// All sites of a gate. Tenants come and go while it serves.
pub(crate) struct Sites<E> {
    /// The site outside `/t/`.
    pub(crate) gate: Site<E>,
    tenants: ArcSwap<TenantSites<E>>,
}

impl<E> Sites<E> {
    pub(crate) fn new(gate: Site<E>) -> Self {
        Self { gate, tenants: ArcSwap::default() }
    }

    /// The site of a tenant.
    pub(crate) fn tenant(&self, name: &str) -> Option<Arc<Site<E>>> {
        self.tenants.load().get(name).map(Arc::clone)
    }

    /// Reads the site of a tenant, or the gate's own. `None`: there is no such tenant.
    pub(crate) fn read<T>(&self, tenant: Option<Name>, read: impl FnOnce(&Site<E>) -> T) -> Option<T> {
        match tenant {
            None => Some(read(&self.gate)),
            Some(name) => self.tenant(name.as_str()).map(|site| read(&site)),
        }
    }

    /// The sites of all tenants.
    pub(crate) fn tenants(&self) -> Arc<TenantSites<E>> {
        self.tenants.load_full()
    }

    /// Replaces the sites of all tenants. A request keeps the site that it began with.
    pub(crate) fn set_tenants(&self, tenants: TenantSites<E>) {
        self.tenants.store(Arc::new(tenants));
    }
}
