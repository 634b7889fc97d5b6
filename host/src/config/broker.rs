//! `[[broker]]`: a broker that asks the gate.

use std::path::PathBuf;
use std::time::Duration;

use brokers::{BrokerKind, EmqxVersion, FaultReply};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{SecretSource, SettingsError};
use serde::Deserialize;

use super::policy::deserialize_name;
use super::{ConfigError, Tenants, check_range, invalid};

/// Time of a ban without `revoke_ban`.
const DEFAULT_REVOKE_BAN: Duration = Duration::from_secs(60 * 60);

/// The node cache of EMQX 6 keeps an allowed login for one minute, which a shorter ban would not outlast.
const MIN_REVOKE_BAN: Duration = Duration::from_secs(60);

/// A longer ban is a decision for the policy, which every broker asks.
const MAX_REVOKE_BAN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The treatment of a connected client that the policy denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRevoke {
    /// Only count it, to see what the other two would do.
    Report,
    /// Disconnect it.
    Kick,
    /// Disconnect it, and refuse its logins for `revoke_ban`.
    Ban,
}

impl OnRevoke {
    /// Name in the configuration and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Kick => "kick",
            Self::Ban => "ban",
        }
    }
}

/// A broker that asks the gate.
///
/// The gate has routes for the kinds that are named. If all of them read replies in the same way, the gate refuses every
/// request in that way, also one that it cannot read.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [[broker]]")]
pub struct BrokerConfig {
    /// The kind of broker.
    pub kind: BrokerKind,
    /// The version of EMQX. Required for what only newer versions understand.
    pub version: Option<EmqxVersion>,
    /// The reply to EMQX if the policy or the gate fails.
    #[serde(default)]
    pub faults: FaultReply,
    /// Base URL of EMQX's management API, such as `http://127.0.0.1:18083`. The gate resets the caches of EMQX through it
    /// after each swap. Absent: the gate opens no connection to the broker.
    pub api: Option<String>,
    /// API key of EMQX: a value, an environment variable or a file, like a setting.
    pub api_key: Option<SecretSource>,
    /// Secret key that belongs to the API key.
    pub api_secret: Option<SecretSource>,
    /// Certificates to trust, for an API with `https://`. No others are trusted.
    pub api_ca: Option<PathBuf>,
    /// The tenant whose clients connect to this broker, for `on_revoke`. Absent: they are clients of the gate itself.
    #[serde(default, deserialize_with = "deserialize_name")]
    pub tenant: Option<Name>,
    /// The treatment of connected clients that the policies deny after an activation. Absent: they stay connected.
    pub on_revoke: Option<OnRevoke>,
    /// Time of a ban, one hour by default. Only for `on_revoke = "ban"`.
    #[serde(default, with = "humantime_serde")]
    pub revoke_ban: Option<Duration>,
}

impl BrokerConfig {
    /// A broker of this kind without an API.
    #[must_use]
    pub const fn of_kind(kind: BrokerKind) -> Self {
        Self {
            kind,
            version: None,
            faults: FaultReply::Deny,
            api: None,
            api_key: None,
            api_secret: None,
            api_ca: None,
            tenant: None,
            on_revoke: None,
            revoke_ban: None,
        }
    }

    /// Time for which a revoked client is banned. `None`: it is disconnected only.
    #[must_use]
    pub fn ban_of_revoked(&self) -> Option<Duration> {
        (self.on_revoke == Some(OnRevoke::Ban)).then(|| self.revoke_ban.unwrap_or(DEFAULT_REVOKE_BAN))
    }

    pub(super) fn check(&self, tenants: &Tenants) -> Result<(), ConfigError> {
        self.check_version()?;
        self.check_api()?;
        self.check_on_revoke(tenants)
    }

    fn check_version(&self) -> Result<(), ConfigError> {
        if self.version.is_some() && self.kind != BrokerKind::Emqx {
            return Err(invalid("broker.version", "is a version of EMQX; remove it, or set kind = \"emqx\""));
        }
        if self.version.is_some_and(|version| version < EmqxVersion::MIN) {
            return Err(invalid(
                "broker.version",
                format!(
                    "EMQX before {} does not apply the topics and the end of a session that a policy grants; upgrade it",
                    EmqxVersion::MIN
                ),
            ));
        }
        let is_hardened = self.version.is_some_and(|version| version >= EmqxVersion::HARDENED);
        if self.faults == FaultReply::Unavailable && !is_hardened {
            return Err(invalid(
                "broker.faults",
                format!(
                    "\"503\" is a denial only for EMQX {} and newer with EMQX_SECURITY_PROFILE=hardened; set \
                     broker.version, or remove faults",
                    EmqxVersion::HARDENED
                ),
            ));
        }
        Ok(())
    }

    fn check_api(&self) -> Result<(), ConfigError> {
        let Some(api) = &self.api else {
            let is_alone = self.api_key.is_none() && self.api_secret.is_none() && self.api_ca.is_none();
            return if is_alone { Ok(()) } else { Err(invalid("broker.api", "is missing beside broker.api_…")) };
        };
        if self.kind != BrokerKind::Emqx {
            return Err(invalid("broker.api", "is an API of EMQX; remove it, or set kind = \"emqx\""));
        }
        // The URL is not repeated: text before an `@` may be a password.
        let (scheme, rest) = api.split_once("://").unwrap_or_default();
        let is_host = !rest.is_empty() && !rest.contains(['@', '?', '#', '/', ' ']);
        if !matches!(scheme, "http" | "https") || !is_host {
            return Err(invalid("broker.api", "must be a scheme and a host, such as http://127.0.0.1:18083"));
        }
        if (scheme == "https") != self.api_ca.is_some() {
            return Err(invalid("broker.api_ca", "belongs to an API with https://, which requires it"));
        }
        for (name, secret) in [("broker.api_key", &self.api_key), ("broker.api_secret", &self.api_secret)] {
            if secret.is_none() {
                return Err(invalid(name, "is missing; create an API key on the dashboard of EMQX (System, API Key)"));
            }
        }
        Ok(())
    }

    fn check_on_revoke(&self, tenants: &Tenants) -> Result<(), ConfigError> {
        if self.tenant.is_some() && self.on_revoke.is_none() {
            return Err(invalid("broker.tenant", "belongs to on_revoke: it names the policies that are asked"));
        }
        if let Some(tenant) = self.tenant.filter(|tenant| !tenants.0.contains_key(tenant)) {
            return Err(invalid("broker.tenant", format!("there is no [tenant.{tenant}]")));
        }
        if self.on_revoke.is_some() && self.api.is_none() {
            return Err(invalid("broker.on_revoke", "calls the API of EMQX; set broker.api, or remove on_revoke"));
        }
        let Some(ban) = self.revoke_ban else { return Ok(()) };
        if self.on_revoke != Some(OnRevoke::Ban) {
            return Err(invalid("broker.revoke_ban", "belongs to on_revoke = \"ban\""));
        }
        let show = |time: &Duration| humantime::format_duration(*time).to_string();
        check_range("broker.revoke_ban", ban, MIN_REVOKE_BAN..=MAX_REVOKE_BAN, show)
    }

    pub(super) fn resolve_env(&mut self, get: impl Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
        for (name, secret) in [("broker.api_key", &mut self.api_key), ("broker.api_secret", &mut self.api_secret)] {
            if let Some(secret) = secret {
                secret.resolve_env(name, &get)?;
            }
        }
        Ok(())
    }
}

/// Checks that all brokers on the routes of EMQX read the same reply to a fault as a denial: rmqtt admits a client on a 503.
pub(super) fn check_faults(brokers: &[BrokerConfig]) -> Result<(), ConfigError> {
    let has_emqx_routes = |broker: &&BrokerConfig| matches!(broker.kind, BrokerKind::Emqx | BrokerKind::Rmqtt);
    let mut faults = brokers.iter().filter(has_emqx_routes).map(|broker| broker.faults);
    let first = faults.next();
    if faults.all(|other| Some(other) == first) {
        return Ok(());
    }
    Err(invalid(
        "broker.faults",
        "must be the same for all brokers on /emqx/…; rmqtt admits clients on a 503, so beside it only \"deny\" is possible",
    ))
}
