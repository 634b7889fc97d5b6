//! `[policy]` and `[[policy]]`: the policies and their settings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use mqtt_gate_engine::chain::{Condition, Mode};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{KeyRingSource, PolicyLimits, SettingSources, SettingsError};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{ConfigError, Limits, invalid};

/// Environment variable from which the default configuration takes the signing key.
pub const KEY_VARIABLE: &str = "MQTT_SIGNATURE_KEY";

/// Setting of the default policy that holds the signing key.
pub const KEY_SETTING: &str = "signature-keys";

/// Name of the policy in a chain of one.
const ONLY: &str = "policy";

/// Policies of one chain. More than any chain that we know of needs: each is a call for each login.
const MAX_POLICIES: usize = 16;

/// The policies in the order in which they are asked. `[policy]` is a chain of one, `[[policy]]` a list.
#[derive(Clone, Default)]
pub struct PolicyChain {
    /// The first policy.
    pub first: PolicyConfig,
    /// The policies after it.
    pub others: Vec<PolicyConfig>,
}

/// A policy and its settings.
#[derive(Clone)]
pub struct PolicyConfig {
    /// Name in commands, logs and metrics. Absent in a chain of one: `policy`.
    pub name: Option<Name>,
    /// Path of the component. The gate watches it and swaps the policy when it changes. Absent: an embedded policy.
    pub file: Option<PathBuf>,
    /// The embedded policy to use. Absent: `auth-core`, the default policy.
    pub builtin: Option<Builtin>,
    /// Settings that the policy can read. Absent for the default policy, and for `[policy]`: `signature-keys` from the
    /// variable `MQTT_SIGNATURE_KEY`.
    pub settings: SettingSources,
    /// The clients that the policy is asked about. Absent: all of them.
    pub when: Condition,
    /// Whether its verdict counts. Absent: it does.
    pub mode: PolicyMode,
    /// Limits below those of `[limits]`.
    pub limits: PolicyLimitsConfig,
}

/// An embedded policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Builtin {
    /// The default policy: signed credentials of devices.
    AuthCore,
    /// JSON Web Tokens, verified by the key ring `jwt`.
    Jwt,
    /// The incident policy: only listed clients may connect.
    Lockdown,
    /// Denies the clients on a list, and decides about no other.
    Revoked,
}

/// Whether the verdict of a policy counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyMode {
    /// It does.
    #[default]
    Enforce,
    /// It does not: the gate compares it with the decision, and counts the differences.
    Monitor,
}

/// Limits of one policy. Absent: those of `[limits]`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [policy.limits]")]
pub struct PolicyLimitsConfig {
    /// As `limits.policy_timeout`.
    #[serde(with = "humantime_serde")]
    pub policy_timeout: Option<Duration>,
    /// As `limits.policy_wall_timeout`.
    #[serde(with = "humantime_serde")]
    pub policy_wall_timeout: Option<Duration>,
    /// As `limits.max_memory`.
    pub max_memory: Option<ByteSize>,
    /// As `limits.max_policy_output`.
    pub max_policy_output: Option<ByteSize>,
    /// As `limits.max_calls_per_instance`.
    pub max_calls_per_instance: Option<NonZero<u32>>,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        PolicyTable::default().into_config(true)
    }
}

/// A policy as written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [policy]")]
struct PolicyTable {
    #[serde(deserialize_with = "deserialize_name")]
    name: Option<Name>,
    file: Option<PathBuf>,
    builtin: Option<Builtin>,
    settings: Option<SettingSources>,
    #[serde(deserialize_with = "deserialize_keyrings")]
    keyrings: BTreeMap<String, KeyRingSource>,
    when: Condition,
    mode: PolicyMode,
    limits: PolicyLimitsConfig,
}

impl PolicyTable {
    /// A policy sees its own settings only. The key of the default policy is a default where no other policy could get it.
    fn into_config(self, is_only: bool) -> PolicyConfig {
        let Self { name, file, builtin, settings, keyrings, when, mode, limits } = self;
        let is_auth_core = file.is_none() && builtin.is_none_or(|builtin| builtin == Builtin::AuthCore);
        let default_settings = || {
            let mut settings = SettingSources::default();
            if is_auth_core || (is_only && builtin.is_none() && keyrings.is_empty()) {
                settings.set_from_env(KEY_SETTING, KEY_VARIABLE);
            }
            settings
        };
        let mut settings = settings.unwrap_or_else(default_settings);
        for (name, ring) in keyrings {
            settings.grant_keyring(name, ring);
        }
        PolicyConfig { name, file, builtin, settings, when, mode, limits }
    }
}

impl PolicyConfig {
    /// The name, also of a policy without one.
    #[must_use]
    pub fn name(&self) -> Option<Name> {
        self.name.or_else(|| Name::new(ONLY))
    }

    /// The engine's word for [`Self::mode`].
    #[must_use]
    pub fn engine_mode(&self) -> Mode {
        match self.mode {
            PolicyMode::Enforce => Mode::Enforce,
            PolicyMode::Monitor => Mode::Monitor,
        }
    }
}

impl PolicyLimitsConfig {
    /// The limits that the engine enforces, where `limits` are those of every policy.
    #[must_use]
    pub fn engine(&self, limits: &Limits) -> PolicyLimits {
        let widest = limits.engine().of_policy();
        let policy_timeout = self.policy_timeout.unwrap_or(widest.policy_timeout);
        PolicyLimits {
            policy_timeout,
            policy_wall_timeout: self.policy_wall_timeout.unwrap_or(widest.policy_wall_timeout),
            max_memory: self.max_memory.map_or(widest.max_memory, |size| size.as_u64()),
            max_policy_output: self.max_policy_output.map_or(widest.max_policy_output, |size| size.as_u64()),
            max_calls_per_instance: self.max_calls_per_instance.unwrap_or(widest.max_calls_per_instance),
        }
    }

    fn check(&self, limits: &Limits) -> Result<(), ConfigError> {
        let (own, widest) = (self.engine(limits), limits.engine().of_policy());
        let problem = if own.within(widest) != own {
            "a limit is wider than in [limits], which counts for every policy; lower it, or raise that one"
        } else if own.policy_timeout < Duration::from_millis(10) || own.policy_wall_timeout < own.policy_timeout {
            "policy_timeout must be at least 10ms, and policy_wall_timeout at least as long"
        } else if own.max_memory < 64 << 10 || own.max_policy_output < 1 << 10 {
            "max_memory must be at least 64 KiB, and max_policy_output at least 1 KiB"
        } else {
            return Ok(());
        };
        Err(invalid("policy.limits", problem))
    }
}

impl PolicyChain {
    /// The policies in order.
    pub fn iter(&self) -> impl Iterator<Item = &PolicyConfig> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The policies in order, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut PolicyConfig> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// The policy with this name. Without a name: the only policy.
    ///
    /// # Errors
    /// There is no such policy, or several without a name to choose one. The text is for the operator.
    pub fn find(&self, name: Option<&str>) -> Result<&PolicyConfig, String> {
        let names = || self.iter().filter_map(PolicyConfig::name).map(Name::as_str).collect::<Vec<_>>().join(", ");
        match name {
            Some(name) => self
                .iter()
                .find(|policy| policy.name().is_some_and(|known| known.as_str() == name))
                .ok_or_else(|| format!("the configuration has no policy `{name}`; it has {}", names())),
            None if self.others.is_empty() => Ok(&self.first),
            None => Err(format!("the configuration has several policies; choose one with --name: {}", names())),
        }
    }

    pub(super) fn resolve_env(&mut self, get: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        let is_only = self.others.is_empty();
        for policy in self.iter_mut() {
            policy.settings.resolve_env(&get).map_err(|error| match (error, policy.name) {
                (SettingsError::Env { variable, .. }, _) if variable == KEY_VARIABLE => ConfigError::NoKey,
                (error, Some(policy)) if !is_only => ConfigError::PolicySetting { policy, source: error },
                (error, _) => error.into(),
            })?;
        }
        Ok(())
    }

    pub(super) fn check(&self, limits: &Limits) -> Result<(), ConfigError> {
        let mut names = BTreeSet::new();
        if self.others.len() >= MAX_POLICIES {
            return Err(invalid("policy", format!("a chain has at most {MAX_POLICIES} policies")));
        }
        for policy in self.iter() {
            if policy.name.is_none() && !self.others.is_empty() {
                return Err(invalid("policy.name", "is missing; each of several policies needs a name"));
            }
            if !names.insert(policy.name()) {
                return Err(invalid("policy.name", "two policies of a chain have the same name"));
            }
            if policy.file.is_some() && policy.builtin.is_some() {
                return Err(invalid("policy.builtin", "a policy has either a file or a builtin; remove one of them"));
            }
            policy.limits.check(limits)?;
        }
        if self.iter().all(|policy| policy.mode == PolicyMode::Monitor) {
            return Err(invalid(
                "policy.mode",
                "every policy is a monitor, so none decides; one must have mode \"enforce\"",
            ));
        }
        Ok(())
    }
}

/// Key rings by name. The names are written by operators and by policies.
fn deserialize_keyrings<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, KeyRingSource>, D::Error> {
    let keyrings = BTreeMap::<String, KeyRingSource>::deserialize(deserializer)?;
    let problem = "the name of a key ring is 1 to 63 letters, digits, `-` and `_`, with a letter or digit first";
    if keyrings.keys().any(|name| Name::new(name).is_none()) {
        return Err(D::Error::custom(problem));
    }
    Ok(keyrings)
}

pub(super) fn deserialize_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Name>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let problem = "a name is 1 to 63 letters, digits, `-` and `_`, with a letter or digit first";
    Name::new(&text).map(Some).ok_or_else(|| D::Error::custom(problem))
}

impl<'de> Deserialize<'de> for PolicyChain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Chain;

        impl<'de> Visitor<'de> for Chain {
            type Value = PolicyChain;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the table [policy] or tables [[policy]]")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PolicyChain, A::Error> {
                let first = PolicyTable::deserialize(MapAccessDeserializer::new(map))?.into_config(true);
                Ok(PolicyChain { first, others: Vec::new() })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<PolicyChain, A::Error> {
                let mut next = || seq.next_element::<PolicyTable>().map(|table| table.map(|it| it.into_config(false)));
                let first = next()?.ok_or_else(|| A::Error::custom("the list of policies is empty"))?;
                let mut others = Vec::new();
                while let Some(policy) = next()? {
                    others.push(policy);
                }
                Ok(PolicyChain { first, others })
            }
        }

        deserializer.deserialize_any(Chain)
    }
}
