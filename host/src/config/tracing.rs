//! `[traces]`: export of traces to an OpenTelemetry collector.

use serde::Deserialize;

use super::{ConfigError, check_range};

/// Where traces are sent, and how many.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [traces]")]
pub struct TracesConfig {
    /// URL that accepts OTLP over plain HTTP, such as `http://127.0.0.1:4318/v1/traces`. Absent: no traces.
    pub endpoint: Option<String>,
    /// Fraction of decisions that are traced, from 0 to 1.
    pub sample_ratio: f64,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { endpoint: None, sample_ratio: 0.01 }
    }
}

impl TracesConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_range("traces.sample_ratio", self.sample_ratio, 0.0..=1.0, ToString::to_string)
    }
}
