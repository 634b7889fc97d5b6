//! `mqtt-gate check`

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use mqtt_gate::Gate;
use mqtt_gate::config::{Config, ConfigError};
use mqtt_gate::settings::SettingSources;

/// The flags of `check`.
#[derive(Args)]
pub(crate) struct Check {
    /// The component
    #[arg(value_name = "FILE")]
    policy: PathBuf,
    /// With the settings and limits of this configuration [default: the key in MQTT_SIGNATURE_KEY]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Check {
    pub(crate) fn run(self) -> Result<()> {
        let mut config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        config.policy.file = Some(self.policy);
        match config.resolve_env() {
            // Whether a key is needed is for the policy to say.
            Err(ConfigError::NoKey) if self.config.is_none() => config.policy.settings = SettingSources::default(),
            resolved => resolved?,
        }
        let gate = Gate::prepare(config)?;
        let serving = gate.active().get();
        let policy = &serving.policy;
        let mut out = io::stdout();
        writeln!(out, "good: {}, sha256 {}", policy.name(), policy.digest())?;
        let unread = policy.unread_settings();
        if !unread.is_empty() {
            writeln!(out, "settings that it does not read: {}", unread.join(", "))?;
        }
        Ok(())
    }
}
