//! Where a policy is read from, and what was read.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::active::PolicyOrigin;
use crate::policy::{CompileControl, Digest, LoadError, Policy, Sandbox};
use crate::settings::{SettingSources, Settings};
use crate::util::file::read_file;

/// Where a policy is read from: its component and its settings.
#[derive(Clone)]
pub struct PolicySource {
    component: ComponentSource,
    settings: SettingSources,
}

#[derive(Clone)]
enum ComponentSource {
    Embedded(&'static [u8]),
    File(PathBuf),
}

/// A component and its settings as they were read. Nothing of it was checked.
#[derive(Clone)]
pub struct Candidate {
    component: Cow<'static, [u8]>,
    digest: Digest,
    settings: Arc<Settings>,
}

impl PolicySource {
    /// A policy in a file.
    #[must_use]
    pub fn file(path: PathBuf, settings: SettingSources) -> Self {
        Self { component: ComponentSource::File(path), settings }
    }

    /// A policy that is part of the program.
    #[must_use]
    pub fn embedded(component: &'static [u8], settings: SettingSources) -> Self {
        Self { component: ComponentSource::Embedded(component), settings }
    }

    /// Reads the component and the settings once.
    ///
    /// # Errors
    /// A file cannot be read, or a setting has no value.
    pub fn read(&self) -> Result<Candidate, LoadError> {
        self.with_component(self.read_component()?)
    }

    /// Reads the component, and combines it with these settings.
    pub(super) fn read_with_settings(&self, settings: Arc<Settings>) -> Result<Candidate, LoadError> {
        Ok(Candidate::new(self.read_component()?, settings))
    }

    /// Reads the settings.
    pub(super) fn read_settings(&self) -> Result<Arc<Settings>, LoadError> {
        Ok(Arc::new(self.settings.read()?))
    }

    /// Combines another component with the current settings.
    pub(super) fn with_component(&self, component: impl Into<Cow<'static, [u8]>>) -> Result<Candidate, LoadError> {
        Ok(Candidate::new(component.into(), self.read_settings()?))
    }

    fn read_component(&self) -> Result<Cow<'static, [u8]>, LoadError> {
        match &self.component {
            ComponentSource::Embedded(component) => Ok(Cow::Borrowed(component)),
            ComponentSource::File(path) => {
                let read = read_file(path).map_err(|source| LoadError::Read { path: path.clone(), source })?;
                Ok(Cow::Owned(read))
            }
        }
    }

    /// Origin of the component.
    pub(super) fn origin(&self) -> PolicyOrigin {
        match self.component {
            ComponentSource::Embedded(_) => PolicyOrigin::Embedded,
            ComponentSource::File(_) => PolicyOrigin::File,
        }
    }

    /// Files that the policy is read from. None: it never changes.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let component = match &self.component {
            ComponentSource::Embedded(_) => None,
            ComponentSource::File(path) => Some(path.as_path()),
        };
        component.into_iter().chain(self.settings.files()).map(Path::to_owned).collect()
    }
}

impl Candidate {
    fn new(component: Cow<'static, [u8]>, settings: Arc<Settings>) -> Self {
        Self { digest: Digest::of(&component), component, settings }
    }

    /// SHA-256 of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The component.
    pub(super) fn component(&self) -> &[u8] {
        &self.component
    }

    /// Whether a policy has this component and these settings.
    pub(super) fn is_same_as(&self, policy: &Policy) -> bool {
        self.digest == policy.digest() && *self.settings == *policy.settings()
    }

    /// The settings.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }

    /// Loads the policy.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn load(&self, sandbox: &Arc<Sandbox>) -> Result<Policy, LoadError> {
        self.load_with(sandbox, &CompileControl::default())
    }

    /// As [`Self::load`], with control over the compiler.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub(super) fn load_with(&self, sandbox: &Arc<Sandbox>, control: &CompileControl) -> Result<Policy, LoadError> {
        let settings = Arc::clone(&self.settings);
        Policy::load_hashed(Arc::clone(sandbox), &self.component, self.digest, settings, control)
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && *self.settings == *other.settings
    }
}
