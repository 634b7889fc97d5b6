//! Reloads the configuration file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use mqtt_gate_engine::watch::{Load, Reload, Waker};
use zeroize::Zeroizing;

use super::loader::{Known, LoadedSites, Loader, SitesError};
use crate::config::{Config, ConfigError};
use crate::config_file::{ConfigFileState, changed_keys, keys_for_restart};

/// Reads a configuration from its text: flags override it, and its variables are resolved.
pub type ConfigLoader = Box<dyn Fn(&str) -> Result<Config, ConfigError> + Send + Sync>;

/// The configuration file of a gate.
pub struct ConfigFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Its text when the gate was started.
    pub text: Zeroizing<String>,
    /// Reads it again.
    pub load: ConfigLoader,
}

/// Reloads the configuration file.
pub(super) struct ConfigReload {
    file: Arc<ConfigFile>,
    loader: Loader,
    known: Known,
    state: ConfigFileState,
    /// Text that is active.
    active: Zeroizing<String>,
    /// What needs a restart, as the gate was started with it.
    started_with: toml::Table,
    /// Sites for [`GateReloader`] to apply.
    pub(super) loaded: Option<LoadedSites>,
    waker: Option<Waker>,
}

impl ConfigReload {
    pub(super) fn new(file: ConfigFile, loader: Loader, known: Known, state: ConfigFileState) -> Self {
        state.set_active(SystemTime::now(), Vec::new());
        let (active, started_with) = (file.text.clone(), keys_for_restart(&file.text));
        Self { file: Arc::new(file), loader, known, state, active, started_with, loaded: None, waker: None }
    }

    /// The sites of the file are active. The status says so only from now on.
    pub(super) fn applied(&mut self, known: Known) {
        self.known = known;
        let needs_restart = changed_keys(&self.started_with, &keys_for_restart(&self.active));
        if !needs_restart.is_empty() {
            let keys = needs_restart.join(", ");
            tracing::warn!(keys, hint = "restart the gate to apply them", "configuration keys need a restart");
        }
        self.state.set_active(SystemTime::now(), needs_restart);
        tracing::info!(path = %self.file.path.display(), "configuration reloaded");
    }
}

impl Reload for ConfigReload {
    type Contents = Zeroizing<String>;
    type Value = LoadedSites;
    type Error = SitesError;

    fn files(&self) -> Vec<PathBuf> {
        vec![self.file.path.clone()]
    }

    fn read(&self) -> Result<Self::Contents, SitesError> {
        Ok(crate::config::read_text(&self.file.path)?.into())
    }

    fn load(&self, text: &Self::Contents) -> Result<LoadedSites, SitesError> {
        self.loader.load((self.file.load)(text)?, &self.known)
    }

    /// New policies may take long to compile.
    fn load_aside(&mut self, text: &Self::Contents) -> Option<Load<Result<LoadedSites, SitesError>>> {
        let (file, loader, known, text) =
            (Arc::clone(&self.file), self.loader.clone(), self.known.clone(), text.clone());
        let load = move || loader.load((file.load)(&text)?, &known);
        Load::spawn(load, || {}, self.waker.clone()).ok()
    }

    fn is_active(&self, text: &Self::Contents) -> bool {
        *text == self.active
    }

    fn activate(&mut self, text: Self::Contents, loaded: LoadedSites) {
        self.active = text;
        self.loaded = Some(loaded);
    }

    fn reject(&mut self, _text: Option<&Self::Contents>, reason: &str) {
        self.state.set_error(Some((reason.to_owned(), SystemTime::now())));
        let hint = "correct the file; it is read again when it changes";
        tracing::error!(path = %self.file.path.display(), reason, hint, "configuration rejected; keeping the active one");
    }

    fn restore(&mut self) {
        self.state.set_error(None);
        tracing::info!(path = %self.file.path.display(), "configuration file matches the active configuration again");
    }

    fn is_transient(error: &SitesError) -> bool {
        error.is_transient()
    }

    fn set_waker(&mut self, waker: Waker) {
        self.waker = Some(waker);
    }
}
