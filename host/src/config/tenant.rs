//! `[tenant.NAME]`: operators' customers, each with its own policies and paths.

use std::collections::BTreeMap;
use std::num::NonZero;

use mqtt_gate_engine::SecretSource;
use mqtt_gate_engine::util::name::Name;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::{ConfigError, Limits, PolicyChain, invalid};

/// Tenants of one gate. Each has a few kilobytes and its instances; more gates serve more tenants.
const MAX_TENANTS: usize = 10_000;

/// The tenants by name. Brokers of a tenant ask below `/t/NAME`.
#[derive(Clone, Default)]
pub struct Tenants(pub BTreeMap<Name, TenantConfig>);

/// A tenant.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [tenant.NAME]")]
pub struct TenantConfig {
    /// Its policies.
    pub policy: PolicyChain,
    /// Its secret.
    pub access: TenantAccess,
    /// Its share of the gate.
    pub limits: TenantLimits,
}

/// Secrets of the brokers of a tenant.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [tenant.NAME.access]")]
pub struct TenantAccess {
    /// Secret that brokers of this tenant send, instead of `access.broker_secret`. Absent: that one.
    pub broker_secret: Option<SecretSource>,
}

/// What one tenant may use of the gate, so that it leaves enough for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [tenant.NAME.limits]")]
pub struct TenantLimits {
    /// Instances of its policies. Absent: as many as the gate has.
    pub max_instances: Option<NonZero<u32>>,
    /// Processors that the calls of its policies may use, on average over a second: 0.5 is half of one. Absent: all.
    pub processors: Option<f64>,
}

impl Tenants {
    pub(super) fn check(&self, limits: &Limits, workers: usize) -> Result<(), ConfigError> {
        if self.0.len() > MAX_TENANTS {
            return Err(invalid("tenant", format!("a gate has at most {MAX_TENANTS} tenants; run several gates")));
        }
        for (name, tenant) in &self.0 {
            let of_tenant = |error: ConfigError| match error {
                ConfigError::Value { key, problem } => {
                    ConfigError::Value { key: format!("tenant.{name}.{key}").into(), problem }
                }
                error => error,
            };
            tenant.policy.check(limits).and_then(|()| tenant.limits.check(workers)).map_err(of_tenant)?;
        }
        Ok(())
    }

    pub(super) fn resolve_env(&mut self, get: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        for tenant in self.0.values_mut() {
            tenant.policy.resolve_env(&get)?;
            if let Some(secret) = &mut tenant.access.broker_secret {
                secret.resolve_env("tenant.access.broker_secret", &get)?;
            }
        }
        Ok(())
    }
}

impl TenantLimits {
    fn check(self, workers: usize) -> Result<(), ConfigError> {
        // Each worker needs an instance, and one more while a policy is swapped.
        let min = u32::try_from(workers).unwrap_or(u32::MAX).saturating_add(1);
        if self.max_instances.is_some_and(|max| max.get() < min) {
            return Err(invalid("limits.max_instances", format!("must be at least {min}: one more than workers")));
        }
        if self.processors.is_some_and(|processors| !(0.01..=256.0).contains(&processors)) {
            return Err(invalid("limits.processors", "must be from 0.01 to 256"));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Tenants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let problem = "the name of a tenant is 1 to 63 letters, digits, `-` and `_`, with a letter or digit first";
        let named = |(name, tenant): (String, TenantConfig)| {
            Name::new(&name).map(|name| (name, tenant)).ok_or_else(|| D::Error::custom(problem))
        };
        BTreeMap::<String, TenantConfig>::deserialize(deserializer)?
            .into_iter()
            .map(named)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}
