//! The configuration file while the gate runs: what it changes at once, and what waits for a restart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Keys of the configuration that change without a restart.
const RELOADED: [&str; 2] = ["policy", "tenant"];

/// State of the configuration file. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct ConfigFileState(Arc<Mutex<State>>);

/// What the status shows of the configuration file.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// When the configuration that is active was read; `None`: the gate has no configuration file.
    pub(crate) since: Option<SystemTime>,
    /// Times that the file was changed and its contents became active.
    pub(crate) reloads: u64,
    /// Why the contents of the file are not active, and since when.
    pub(crate) error: Option<(String, SystemTime)>,
    /// Keys that have changed in the file and need a restart.
    pub(crate) needs_restart: Vec<String>,
}

impl ConfigFileState {
    pub(crate) fn snapshot(&self) -> State {
        self.lock().clone()
    }

    pub(crate) fn set_active(&self, now: SystemTime, needs_restart: Vec<String>) {
        let mut state = self.lock();
        state.reloads += u64::from(state.since.is_some());
        (state.since, state.error, state.needs_restart) = (Some(now), None, needs_restart);
    }

    pub(crate) fn set_error(&self, error: Option<(String, SystemTime)>) {
        self.lock().error = error;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys of a configuration, as far as they need a restart, each with its value as text.
pub(crate) fn keys_for_restart(text: &str) -> toml::Table {
    let mut table: toml::Table = text.parse().unwrap_or_default();
    RELOADED.iter().for_each(|key| drop(table.remove(*key)));
    table
}

/// Keys whose values differ.
pub(crate) fn changed_keys(before: &toml::Table, now: &toml::Table) -> Vec<String> {
    let mut keys: Vec<_> =
        before.keys().chain(now.keys()).filter(|key| before.get(*key) != now.get(*key)).cloned().collect();
    keys.sort();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_need_a_restart_are_named() {
        let before = keys_for_restart(
            "workers = 2\nlisten = \"0.0.0.0:1\"\n[policy.settings]\na = \"1\"\n[limits]\nmax_body = \"1MiB\"",
        );
        for (text, expected) in [
            ("workers = 2\nlisten = \"0.0.0.0:1\"\n[limits]\nmax_body = \"1MiB\"", &[][..]),
            ("workers = 2\nlisten = \"0.0.0.0:1\"\n[tenant.a]\n[limits]\nmax_body = \"2MiB\"", &["limits"]),
            ("workers = 3\n[limits]\nmax_body = \"1MiB\"\n[tls]\nkey = \"k\"", &["listen", "tls", "workers"]),
        ] {
            assert_eq!(changed_keys(&before, &keys_for_restart(text)), expected, "{text}");
        }
    }
}
