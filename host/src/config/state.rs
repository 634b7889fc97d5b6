//! `[state]`: what the gate keeps on disk.

use std::path::PathBuf;

use serde::Deserialize;

/// Where the gate keeps the last known good policy.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [state]")]
pub struct StateConfig {
    /// Directory for the last policy that was activated from a file. The gate starts with it if that file is broken.
    /// Absent: the directory of systemd's `StateDirectory=`, or else nothing is kept.
    pub directory: Option<PathBuf>,
}

impl StateConfig {
    pub(super) fn resolve_env(&mut self, get: impl Fn(&str) -> Option<String>) {
        // systemd separates several directories by colons.
        let directories = get("STATE_DIRECTORY");
        let first = directories.as_deref().and_then(|list| list.split(':').next()).map(PathBuf::from);
        self.directory = self.directory.take().or(first);
    }
}
