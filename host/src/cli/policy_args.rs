//! What a policy is tried with, in this process: the settings and limits that the gate would give it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use mqtt_gate::ServeError;
use mqtt_gate::config::{Config, ConfigError};
use mqtt_gate::policy::{LoadError, Policy};
use mqtt_gate::sandbox::Sandbox;
use mqtt_gate::settings::{SettingSources, read_file};

/// Where the settings and limits come from.
#[derive(Args)]
pub(crate) struct With {
    /// With the settings and limits of this configuration [default: the key in MQTT_SIGNATURE_KEY]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl With {
    /// The configuration as it is written, or the default.
    pub(crate) fn read(&self) -> Result<Config, ConfigError> {
        Ok(self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default())
    }

    /// Loads this component as `serve` would with this configuration. Nothing else stands in for it.
    pub(crate) fn load(&self, mut config: Config, component: &[u8]) -> Result<Policy> {
        match config.resolve_settings_env() {
            // Whether a key is needed is for the policy to say.
            Err(ConfigError::NoKey) if self.config.is_none() => config.policy.settings = SettingSources::default(),
            resolved => resolved?,
        }
        let settings = config.policy.settings.read()?;
        let sandbox = Sandbox::new(config.limits).map_err(ServeError::from)?;
        Ok(Policy::load(Arc::new(sandbox), component, Arc::new(settings))?)
    }
}

/// Reads a component.
pub(crate) fn component(path: &Path) -> Result<Vec<u8>, LoadError> {
    read_file(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}
