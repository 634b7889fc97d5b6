//! Flags of verbs that load a policy in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use mqtt_gate::config::{Config, ConfigError, PolicyChain, PolicyConfig};
use mqtt_gate::{ChildCompiler, builtin};
use mqtt_gate_engine::util::file::read_file;
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{Policy, Sandbox, SettingSources};

use super::error::CliError;

/// Settings and limits of a policy.
#[derive(Args)]
pub(crate) struct PolicyArgs {
    /// Take settings and limits from this configuration [default: only the key, from MQTT_SIGNATURE_KEY]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The policy of the configuration that is meant, by its name [default: the only one]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The tenant of the configuration whose policies are meant [default: the policies outside all tenants]
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
}

impl PolicyArgs {
    /// Reads the configuration, or takes the default one.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)
    }

    /// The name of the tenant that is meant.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// Whether the verb is about one policy.
    pub(crate) fn names_one(&self) -> bool {
        self.name.is_some()
    }

    /// The chain that is meant.
    pub(crate) fn chain<'a>(&self, config: &'a Config) -> Result<&'a PolicyChain> {
        let Some(tenant) = &self.tenant else { return Ok(&config.policy) };
        let found = Name::new(tenant).and_then(|name| config.tenant.0.get(&name));
        found.map(|tenant| &tenant.policy).ok_or_else(|| anyhow!("the configuration has no tenant `{tenant}`"))
    }

    /// The policy that is meant.
    pub(crate) fn policy<'a>(&self, config: &'a Config) -> Result<&'a PolicyConfig> {
        self.chain(config)?.find(self.name.as_deref()).map_err(|problem| anyhow!(problem))
    }

    /// Replaces references to the environment in the settings of all policies.
    pub(crate) fn resolve(&self, config: &mut Config) -> Result<(), ConfigError> {
        match config.resolve_settings_env() {
            // Not every policy needs a key: its own `check()` decides.
            Err(ConfigError::NoKey) if self.config.is_none() => {
                config.policy.first.settings = SettingSources::default();
                Ok(())
            }
            resolved => resolved,
        }
    }

    /// Loads a component like `serve` does with this configuration. There is no fallback to another policy.
    pub(crate) fn load(&self, mut config: Config, component: &[u8]) -> Result<Policy, CliError> {
        self.resolve(&mut config)?;
        let sandbox = sandbox(&config)?;
        load(&sandbox, self.policy(&config)?, component)
    }
}

/// The sandbox of this configuration.
pub(crate) fn sandbox(config: &Config) -> Result<Arc<Sandbox>, CliError> {
    Ok(Arc::new(Sandbox::new(config.limits.engine())?.with_compiler(ChildCompiler::new(&config.limits))))
}

/// Loads the component of a policy with its settings.
pub(crate) fn load(sandbox: &Arc<Sandbox>, policy: &PolicyConfig, component: &[u8]) -> Result<Policy, CliError> {
    Ok(Policy::load(Arc::clone(sandbox), component, Arc::new(policy.settings.read()?))?)
}

/// Reads the component of a policy.
pub(crate) fn component(policy: &PolicyConfig) -> Result<Vec<u8>> {
    match &policy.file {
        Some(file) => read_component(file),
        None => Ok(builtin::component(policy.builtin).to_vec()),
    }
}

/// Reads a component.
pub(crate) fn read_component(path: &Path) -> Result<Vec<u8>> {
    read_file(path).with_context(|| format!("cannot read {}", path.display()))
}
