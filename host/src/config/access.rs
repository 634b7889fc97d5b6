//! `[access]`: secrets of brokers and operators.

use mqtt_gate_engine::{SecretSource, SettingsError};
use serde::Deserialize;

use super::{ConfigError, invalid};

/// Key of the secret of brokers.
pub(crate) const BROKER_SECRET: &str = "access.broker_secret";

/// Key of the token of operators.
pub(crate) const ADMIN_TOKEN: &str = "access.admin_token";

/// Secrets that clients of a listener must present. Each is a value, an environment variable or a file, like a setting.
/// Several secrets, separated by white space, are all valid.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [access]")]
pub struct AccessConfig {
    /// Secret that brokers send, as `authorization` or in a header of its own. Absent: brokers need no secret.
    pub broker_secret: Option<SecretSource>,
    /// Token that operators send as a bearer token or as a password. Absent: operators need no token.
    pub admin_token: Option<SecretSource>,
    /// Public host names by which operators reach the admin address without a token. IP addresses, names without a dot
    /// and private domains need no entry.
    pub admin_hosts: Vec<String>,
}

impl AccessConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_of_name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_');
        let is_name = |host: &String| !host.is_empty() && host.chars().all(is_of_name);
        if self.admin_hosts.iter().all(is_name) {
            return Ok(());
        }
        Err(invalid("access.admin_hosts", "each entry must be a host name, without a scheme, a port or a path"))
    }

    pub(super) fn resolve_env(&mut self, get: impl Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
        for (name, secret) in [(BROKER_SECRET, &mut self.broker_secret), (ADMIN_TOKEN, &mut self.admin_token)] {
            if let Some(secret) = secret {
                secret.resolve_env(name, &get)?;
            }
        }
        Ok(())
    }
}
