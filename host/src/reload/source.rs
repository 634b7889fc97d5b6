//! What could serve next: the component and the settings, as they lie there now.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mqtt_gate_engine::reload::active::Source;
use crate::config::PolicyConfig;
use mqtt_gate_engine::policy::{Digest, LoadError, Policy};
use mqtt_gate_engine::policy::sandbox::Sandbox;
use mqtt_gate_engine::settings::{SettingSources, Settings};
use mqtt_gate_engine::util::file::{read_file};

/// The default policy, built from `auth-core`.
pub static DEFAULT_POLICY: &[u8] = include_bytes!(env!("MQTT_GATE_DEFAULT_POLICY"));

/// Where a policy comes from: a file or the program itself, and the sources of the settings.
#[derive(Clone)]
pub(crate) struct Origin {
    file: Option<PathBuf>,
    settings: SettingSources,
}

/// A component that has been read, with the settings it would have. Nothing is known of it but what it is.
#[derive(Clone)]
pub(crate) struct Candidate {
    component: Cow<'static, [u8]>,
    pub(crate) digest: Digest,
    pub(crate) settings: Arc<Settings>,
}

impl Origin {
    pub(crate) fn new(config: &PolicyConfig) -> Self {
        Self { file: config.file.clone(), settings: config.settings.clone() }
    }

    /// Reads the component and the settings as they are now.
    pub(crate) fn read(&self) -> Result<Candidate, LoadError> {
        match &self.file {
            Some(path) => {
                self.with_component(read_file(path).map_err(|source| LoadError::Read { path: path.clone(), source })?)
            }
            None => self.with_component(DEFAULT_POLICY),
        }
    }

    /// Another component, with the settings as they are now.
    pub(crate) fn with_component(&self, component: impl Into<Cow<'static, [u8]>>) -> Result<Candidate, LoadError> {
        let component = component.into();
        let settings = Arc::new(self.settings.read()?);
        Ok(Candidate { digest: Digest::of(&component), component, settings })
    }

    /// Where its component comes from.
    pub(crate) fn source(&self) -> Source {
        if self.file.is_some() { Source::File } else { Source::Program }
    }

    /// The files that it is made of. None of them: it cannot change.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.file.iter().map(PathBuf::as_path).chain(self.settings.files())
    }
}

impl Candidate {
    /// Whether this is the component and the settings of that policy.
    pub(crate) fn is(&self, policy: &Policy) -> bool {
        self.digest == policy.digest() && *self.settings == *policy.settings()
    }

    pub(crate) fn component(&self) -> &[u8] {
        &self.component
    }

    pub(crate) fn load(&self, sandbox: &Arc<Sandbox>) -> Result<Policy, LoadError> {
        Policy::load(Arc::clone(sandbox), &self.component, Arc::clone(&self.settings))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && *self.settings == *other.settings
    }
}
