//! What the operator can choose of the decision log.

use std::path::PathBuf;

use serde::Deserialize;

/// Whether and how each answer is written down.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionConfig {
    /// Where to: a file, or `-` for standard output. Absent: nowhere.
    pub file: Option<PathBuf>,
    /// Which answers.
    pub what: Recorded,
    /// How client ids are shown.
    pub client_id: ShownId,
    /// What `hashed` is keyed with, so that the same client looks the same after a restart. Absent: made anew each time.
    pub salt_file: Option<PathBuf>,
}

/// Which answers are written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recorded {
    /// All.
    #[default]
    All,
    /// Whatever is not allowed.
    Refused,
}

/// How client ids are written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShownId {
    /// As they are.
    #[default]
    Plain,
    /// By a keyed digest.
    Hashed,
    /// Their first eight characters.
    Cut,
}
