//! `[state]`: what the gate keeps on disk.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, invalid};

/// Longer than the name of any host (RFC 1123).
const MAX_GATE_ID_LEN: usize = 255;

/// Where the gate keeps the last known good policy.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [state]")]
pub struct StateConfig {
    /// Directory for the last policy that was activated from a file. The gate starts with it if that file is broken.
    /// Absent: the directory of systemd's `StateDirectory=`, or else nothing is kept.
    pub directory: Option<PathBuf>,
    /// Tells gates apart that have the same path of the policy file and get the same directory in turn, such as
    /// containers that share a volume. A gate uses only what a gate with its path and its id has kept.
    pub gate_id: String,
}

impl StateConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_printable = self.gate_id.chars().all(|character| character.is_ascii_graphic());
        if is_printable && self.gate_id.len() <= MAX_GATE_ID_LEN {
            return Ok(());
        }
        Err(invalid(
            "state.gate_id",
            format!("must be at most {MAX_GATE_ID_LEN} printable ASCII characters, without blanks"),
        ))
    }

    pub(super) fn resolve_env(&mut self, get: impl Fn(&str) -> Option<String>) {
        // systemd separates several directories by colons.
        let directories = get("STATE_DIRECTORY");
        let first = directories.as_deref().and_then(|list| list.split(':').next()).map(PathBuf::from);
        self.directory = self.directory.take().or(first);
    }
}
