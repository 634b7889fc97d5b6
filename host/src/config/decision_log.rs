//! `[decision_log]`: one line for each decision.

use std::path::PathBuf;

use serde::Deserialize;

/// Where decisions are logged, which of them, and how client ids are written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [decision_log]")]
pub struct DecisionLogConfig {
    /// Path of the log file, or `-` for standard output. Absent: no decision log.
    pub file: Option<PathBuf>,
    /// Decisions to log.
    pub record: Record,
    /// Format of client ids.
    pub client_id: ClientIdFormat,
    /// File with the salt for `hashed` client ids. Absent: a random salt, so hashes change with each start.
    pub salt_file: Option<PathBuf>,
}

/// Decisions to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// All decisions.
    #[default]
    All,
    /// Every decision except `allow`.
    Denied,
}

/// Format of client ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientIdFormat {
    /// Unchanged.
    #[default]
    Plain,
    /// HMAC-SHA-256 with the salt.
    Hashed,
    /// The first eight characters.
    Truncated,
}
