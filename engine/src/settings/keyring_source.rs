//! A key ring as the operator wrote it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::SettingsError;
use super::value_source::{ValueSource, mistake};
use crate::keyring::{Algorithm, KeyRing};

/// A key ring as the operator wrote it.
#[derive(Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, expecting = "the table of a key ring: file or env, and perhaps algorithms")]
pub struct KeyRingSource {
    file: Option<PathBuf>,
    env: Option<String>,
    /// Absent: every algorithm but the weak ones.
    algorithms: Option<BTreeSet<Algorithm>>,
    /// The value of `env`, or its file.
    #[serde(skip)]
    resolved: Option<ValueSource>,
}

impl KeyRingSource {
    /// A ring in a file.
    #[must_use]
    pub fn from_file(path: PathBuf) -> Self {
        Self { file: Some(path), env: None, algorithms: None, resolved: None }
    }

    pub(super) fn resolve_env(
        &mut self,
        ring: &str,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<(), SettingsError> {
        let mut source = self.source().map_err(|problem| SettingsError::KeyRing { ring: ring.to_owned(), problem })?;
        source.resolve_env(&ring_label(ring), get)?;
        self.resolved = Some(source);
        Ok(())
    }

    /// The file that it is read from.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.resolved {
            Some(resolved) => resolved.file(),
            None => self.file.as_deref(),
        }
    }

    /// Where the keys come from.
    fn source(&self) -> Result<ValueSource, &'static str> {
        match (&self.resolved, &self.file, &self.env) {
            (Some(resolved), ..) => Ok(resolved.clone()),
            (None, Some(path), None) => Ok(ValueSource::File(path.clone())),
            (None, None, Some(variable)) => Ok(ValueSource::Env(variable.clone())),
            (None, ..) => Err("needs either file or env"),
        }
    }

    pub(super) fn read(&self, ring: &str) -> Result<KeyRing, SettingsError> {
        let fails = |problem| SettingsError::KeyRing { ring: ring.to_owned(), problem };
        let text = self.source().map_err(fails)?.read(&ring_label(ring))?;
        if let Some(problem) = mistake(&text) {
            return Err(fails(problem));
        }
        KeyRing::parse(text, self.algorithms.clone()).map_err(fails)
    }
}

/// Names a key ring in an error.
fn ring_label(name: &str) -> String {
    format!("key ring `{name}`")
}
