//! `[policy]`: the policy and its settings.

use std::path::PathBuf;

use mqtt_gate_engine::SettingSources;
use serde::Deserialize;

/// Environment variable from which the default configuration takes the signing key.
pub const KEY_VARIABLE: &str = "MQTT_SIGNATURE_KEY";

/// Setting of the default policy that holds the signing key.
pub const KEY_SETTING: &str = "signature-keys";

/// The policy and its settings.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [policy]")]
pub struct PolicyConfig {
    /// Path of the component. The gate watches it and swaps the policy when it changes. Absent: the embedded default
    /// policy.
    pub file: Option<PathBuf>,
    /// Settings that the policy can read. Absent: `signature-keys` from the variable `MQTT_SIGNATURE_KEY`.
    pub settings: SettingSources,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        let mut settings = SettingSources::default();
        settings.set_from_env(KEY_SETTING, KEY_VARIABLE);
        Self { file: None, settings }
    }
}
