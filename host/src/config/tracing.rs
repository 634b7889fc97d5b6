//! What the operator can choose of traces.

use serde::Deserialize;

/// Whether traces are sent to a collector of OpenTelemetry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceConfig {
    /// Where it takes OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`. Absent: no traces.
    pub endpoint: Option<String>,
    /// The share of questions that are traced, from 0 to 1.
    pub share: f64,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self { endpoint: None, share: 0.01 }
    }
}
