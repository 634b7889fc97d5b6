//! What stands around the gate: certificates, secrets, and what it keeps on disk.

use std::path::PathBuf;

use serde::Deserialize;

use mqtt_gate_engine::settings::{SecretSource, SettingsError};

/// The name of a secret in the configuration.
pub(crate) const BROKER_SECRET: &str = "access.broker_secret";

/// The name of a secret in the configuration.
pub(crate) const ADMIN_TOKEN: &str = "access.admin_token";

/// A certificate, in files of PEM. Watched: what is put in their place is used for the connections that come next.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate, and after it those that lead from it to the authority.
    pub certificate: PathBuf,
    /// Its key, RSA or ECDSA, without a passphrase.
    pub key: PathBuf,
    /// The authorities of clients. With it, nobody is let in to speak who has no certificate of theirs.
    pub client_ca: Option<PathBuf>,
}

/// Secrets without which nobody is heard. A value by reference, as settings have it; several in one, with blank space
/// between them, are all good.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    /// What brokers send as the header `x-mqtt-gate-secret`. Absent: everybody may ask who reaches the port.
    pub broker_secret: Option<SecretSource>,
    /// What the operator sends as a bearer token, or as a password. Absent: everybody may look who reaches the address.
    pub admin_token: Option<SecretSource>,
}

/// What the gate keeps on disk.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// Where it keeps the last policy that served out of a file, for a start that finds that file broken. Absent: the
    /// directory that systemd made for it (`StateDirectory=`), or else nothing is kept.
    pub directory: Option<PathBuf>,
}

impl AccessConfig {
    /// Takes what is referred to out of the environment.
    pub(super) fn resolve_env(&mut self, get: impl Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
        for (name, secret) in [(BROKER_SECRET, &mut self.broker_secret), (ADMIN_TOKEN, &mut self.admin_token)] {
            if let Some(secret) = secret {
                secret.resolve_env(name, &get)?;
            }
        }
        Ok(())
    }
}

impl StateConfig {
    /// Takes the directory that systemd made, unless another one is configured.
    pub(super) fn resolve_env(&mut self, get: impl Fn(&str) -> Option<String>) {
        // A list, if the unit has several.
        let directories = get("STATE_DIRECTORY");
        let first = directories.as_deref().and_then(|list| list.split(':').next()).map(PathBuf::from);
        self.directory = self.directory.take().or(first);
    }
}
