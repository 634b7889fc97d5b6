//! The settings of a policy: where the operator says they are, and what is there.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use zeroize::Zeroizing;

use crate::util::file::{read_file, shown_path};

/// The settings as the operator wrote them: a value, or where to find it.
#[derive(Clone, Default, Deserialize)]
pub struct SettingSources(BTreeMap<String, Source>);

#[derive(Clone)]
enum Source {
    Literal(Zeroizing<String>),
    Env(String),
    File(PathBuf),
}

/// A secret of the gate's own, as the operator wrote it: the value, or where to find it.
#[derive(Clone, Deserialize)]
pub struct SecretSource(Source);

/// The settings of one policy, by name. Never printed: its `Debug` shows names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, Zeroizing<String>>);

/// Why a setting has no value.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It refers to an environment variable that is not there.
    #[error("setting `{setting}`: the environment variable {} is not set, or is not UTF-8", shown_variable(variable))]
    Env {
        /// The name of the setting.
        setting: String,
        /// The name of the variable.
        variable: String,
    },
    /// It refers to a file that cannot be read.
    #[error("setting `{setting}`: cannot read {path}")]
    File {
        /// The name of the setting.
        setting: String,
        /// The file it refers to, as it may be shown.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

impl SettingSources {
    /// Gives a setting a value.
    pub fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), Source::Literal(value.into()));
    }

    /// Lets a setting come from an environment variable.
    pub fn set_from_env(&mut self, name: &str, variable: &str) {
        self.0.insert(name.to_owned(), Source::Env(variable.to_owned()));
    }

    /// Lets a setting come from a file, read anew whenever it changes.
    pub fn set_from_file(&mut self, name: &str, path: PathBuf) {
        self.0.insert(name.to_owned(), Source::File(path));
    }

    /// Whether the operator named this setting at all.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Replaces each reference to the environment by its value. The environment is read once, at the start.
    ///
    /// # Errors
    /// A variable that is not set.
    pub fn resolve_env(&mut self, get: impl Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
        self.0.iter_mut().try_for_each(|(name, source)| source.resolve_env(name, &get))
    }

    /// Reads every setting as it is now. Of a file, one line ending at its end is not part of the value.
    ///
    /// # Errors
    /// A file that cannot be read, or a variable that was not resolved.
    pub fn read(&self) -> Result<Settings, SettingsError> {
        let read_one = |(name, source): (&String, &Source)| Ok((name.clone(), source.read(name)?));
        self.0.iter().map(read_one).collect::<Result<_, _>>().map(Settings)
    }

    /// The files that settings are read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.values().filter_map(Source::file)
    }
}

impl SecretSource {
    /// This value.
    #[must_use]
    pub fn literally(value: String) -> Self {
        Self(Source::Literal(value.into()))
    }

    /// What a file holds, read anew whenever it changes.
    #[must_use]
    pub fn in_file(path: PathBuf) -> Self {
        Self(Source::File(path))
    }

    /// Replaces a reference to the environment by its value. The environment is read once, at the start.
    ///
    /// # Errors
    /// A variable that is not set.
    pub fn resolve_env(&mut self, name: &str, get: impl Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
        self.0.resolve_env(name, get)
    }

    /// The value, where it does not have to be read from elsewhere.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match &self.0 {
            Source::Literal(value) => Some(value),
            Source::Env(_) | Source::File(_) => None,
        }
    }

    /// The file that it is read from.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file()
    }
}

impl Source {
    fn resolve_env(&mut self, name: &str, get: impl Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
        if let Self::Env(variable) = self {
            let missing = || SettingsError::Env { setting: name.to_owned(), variable: variable.clone() };
            *self = Self::Literal(get(variable).ok_or_else(missing)?.into());
        }
        Ok(())
    }

    fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Literal(_) | Self::Env(_) => None,
        }
    }

    fn read(&self, setting: &str) -> Result<Zeroizing<String>, SettingsError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Env(variable) => Err(SettingsError::Env { setting: setting.to_owned(), variable: variable.clone() }),
            Self::File(path) => match read_file(path)
                .and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8")))
            {
                Ok(text) => Ok(without_line_ending(text)),
                Err(source) => {
                    let (setting, path) = (setting.to_owned(), shown_path(path).into_owned());
                    Err(SettingsError::File { setting, path, source })
                }
            },
        }
    }
}

fn without_line_ending(text: String) -> Zeroizing<String> {
    let mut text = Zeroizing::new(text);
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

impl Settings {
    /// The value of a setting. To be handed to the policy and to nobody else.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    /// Every setting with its value. To be handed to the policy and to nobody else.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The names of the settings.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// Takes a value of any kind first, so that an error tells the line and never what stands there.
impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(toml::Value::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("a setting is a string, { env = \"NAME\" } or { file = \"PATH\" }"))
    }
}

impl Source {
    fn parse(value: toml::Value) -> Option<Self> {
        let table = match value {
            toml::Value::String(text) => return Some(Self::Literal(text.into())),
            toml::Value::Table(table) => table,
            _ => return None,
        };
        let mut members = table.into_iter();
        match (members.next()?, members.next()) {
            ((kind, toml::Value::String(name)), None) if kind == "env" => Some(Self::Env(name)),
            ((kind, toml::Value::String(path)), None) if kind == "file" => Some(Self::File(path.into())),
            _ => None,
        }
    }
}

/// The name of a variable, unless it does not look like one: a key that was put there by mistake is not shown.
fn shown_variable(name: &str) -> &str {
    let is_name = name.len() <= 40
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && !name.bytes().all(|b| b.is_ascii_hexdigit());
    if is_name { name } else { "(a name that is not shown: it does not look like one)" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_ending_is_not_part_of_a_value() {
        for (text, value) in [("k", "k"), ("k\n", "k"), ("k\r\n", "k"), ("k\n\n", "k\n"), (" k ", " k "), ("", "")] {
            assert_eq!(*without_line_ending(text.to_owned()), value);
        }
    }

    #[test]
    fn a_value_is_never_shown() {
        let mut sources = SettingSources::default();
        sources.set("signature-keys", "a secret".into());
        let shown = format!("{:?}", sources.read().unwrap());
        assert!(shown.contains("signature-keys") && !shown.contains("secret"));
    }
}
