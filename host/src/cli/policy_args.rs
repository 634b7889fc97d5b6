//! The `--config` flag of verbs that load a policy in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use mqtt_gate::ChildCompiler;
use mqtt_gate::config::{Config, ConfigError};
use mqtt_gate_engine::util::file::read_file;
use mqtt_gate_engine::{Policy, Sandbox, SettingSources};

use super::error::CliError;

/// Settings and limits of a policy.
#[derive(Args)]
pub(crate) struct PolicyArgs {
    /// Take settings and limits from this configuration [default: only the key, from MQTT_SIGNATURE_KEY]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl PolicyArgs {
    /// Reads the configuration, or takes the default one.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)
    }

    /// Loads a component like `serve` does with this configuration. There is no fallback to another policy.
    pub(crate) fn load(&self, mut config: Config, component: &[u8]) -> Result<Policy, CliError> {
        match config.resolve_settings_env() {
            // Not every policy needs a key: its own `check()` decides.
            Err(ConfigError::NoKey) if self.config.is_none() => config.policy.settings = SettingSources::default(),
            resolved => resolved?,
        }
        let settings = config.policy.settings.read()?;
        let sandbox = Sandbox::new(config.limits.engine())?.with_compiler(ChildCompiler::new(&config.limits));
        Ok(Policy::load(Arc::new(sandbox), component, Arc::new(settings))?)
    }
}

/// Reads a component.
pub(crate) fn read_component(path: &Path) -> Result<Vec<u8>> {
    read_file(path).with_context(|| format!("cannot read {}", path.display()))
}
