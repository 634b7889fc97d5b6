//! Where a policy is read from, and what was read.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::active::PolicyOrigin;
use crate::limits::PolicyLimits;
use crate::policy::{CompileControl, Digest, InstanceGroup, LoadError, Policy, PolicyBounds, Sandbox};
use crate::settings::{SettingSources, Settings};
use crate::util::file::read_file;

/// Where a policy is read from: its component and its settings.
#[derive(Clone, PartialEq)]
pub struct PolicySource {
    component: ComponentSource,
    settings: SettingSources,
    bounds: Bounds,
}

/// Bounds as the operator set them.
#[derive(Clone, Default)]
struct Bounds {
    /// Absent: the limits of the sandbox.
    limits: Option<PolicyLimits>,
    /// Absent: the group of the sandbox.
    group: Option<Arc<InstanceGroup>>,
}

#[derive(Clone, PartialEq)]
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
    bounds: Bounds,
}

impl PartialEq for Bounds {
    fn eq(&self, other: &Self) -> bool {
        let group = |bounds: &Self| bounds.group.as_ref().map(Arc::as_ptr);
        self.limits == other.limits && group(self) == group(other)
    }
}

impl PolicySource {
    /// A policy in a file.
    #[must_use]
    pub fn file(path: PathBuf, settings: SettingSources) -> Self {
        Self { component: ComponentSource::File(path), settings, bounds: Bounds::default() }
    }

    /// A policy that is part of the program.
    #[must_use]
    pub fn embedded(component: &'static [u8], settings: SettingSources) -> Self {
        Self { component: ComponentSource::Embedded(component), settings, bounds: Bounds::default() }
    }

    /// Sets limits of this policy. Where they are wider than those of the sandbox, the latter count.
    #[must_use]
    pub fn with_limits(mut self, limits: PolicyLimits) -> Self {
        self.bounds.limits = Some(limits);
        self
    }

    /// Counts the instances of this policy in a group.
    #[must_use]
    pub fn in_group(mut self, group: Arc<InstanceGroup>) -> Self {
        self.bounds.group = Some(group);
        self
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
        Ok(self.candidate(self.read_component()?, settings))
    }

    /// Reads the settings.
    pub(super) fn read_settings(&self) -> Result<Arc<Settings>, LoadError> {
        Ok(Arc::new(self.settings.read()?))
    }

    /// Combines another component with the current settings.
    pub(super) fn with_component(&self, component: impl Into<Cow<'static, [u8]>>) -> Result<Candidate, LoadError> {
        Ok(self.candidate(component.into(), self.read_settings()?))
    }

    fn candidate(&self, component: Cow<'static, [u8]>, settings: Arc<Settings>) -> Candidate {
        Candidate { digest: Digest::of(&component), component, settings, bounds: self.bounds.clone() }
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
        let bounds = PolicyBounds {
            limits: self.limits(sandbox),
            group: self.bounds.group.as_ref().map_or_else(|| Arc::clone(sandbox.instance_group()), Arc::clone),
        };
        Policy::load_hashed(Arc::clone(sandbox), &self.component, self.digest, settings, bounds, control)
    }

    /// The limits of its policy in this sandbox.
    pub(super) fn limits(&self, sandbox: &Sandbox) -> PolicyLimits {
        let widest = sandbox.limits().of_policy();
        self.bounds.limits.map_or(widest, |limits| limits.within(widest))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && *self.settings == *other.settings
    }
}
