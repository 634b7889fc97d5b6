//! Settings of a policy: as the operator wrote them, and with their values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::keyring::KeyRings;

mod keyring_source;
mod value_source;

use value_source::{ValueSource, mistake};

pub use keyring_source::KeyRingSource;

/// Settings as the operator wrote them: each an inline value, or a reference to an environment variable or a file.
#[derive(Clone, Default, Deserialize, PartialEq)]
#[serde(from = "BTreeMap<String, ValueSource>")]
pub struct SettingSources {
    values: BTreeMap<String, ValueSource>,
    keyrings: BTreeMap<String, KeyRingSource>,
}

/// A secret as the operator wrote it: an inline value, or a reference to an environment variable or a file.
#[derive(Clone, Deserialize, PartialEq)]
pub struct SecretSource(ValueSource);

/// Settings of one policy by name. `Debug` prints the names and never the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<String, Zeroizing<String>>,
    keyrings: KeyRings,
}

/// A setting whose value cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The environment variable is missing.
    #[error("{setting}: the environment variable {} is not set, or is not UTF-8", displayable_variable(variable))]
    Env {
        /// The setting or key ring, as text for operators.
        setting: String,
        /// Name of the variable.
        variable: String,
    },
    /// Two environment variables have a value for one setting.
    #[error("{setting}: both {0} and {0}_FILE are set; remove one of them", displayable_variable(variable))]
    EnvTwice {
        /// The setting or key ring, as text for operators.
        setting: String,
        /// Name of the variable with the value.
        variable: String,
    },
    /// The value cannot be the one that the operator meant.
    #[error("{setting}: {problem}")]
    Mistake {
        /// The setting or key ring, as text for operators.
        setting: String,
        /// The problem, and how to fix it. Never contains the value.
        problem: &'static str,
    },
    /// A key ring cannot be used.
    #[error("key ring `{ring}`: {problem}")]
    KeyRing {
        /// Name of the ring.
        ring: String,
        /// The problem, and how to fix it. Never contains a key.
        problem: &'static str,
    },
    /// The file cannot be read.
    #[error("{setting}: cannot read {path}")]
    File {
        /// The setting or key ring, as text for operators.
        setting: String,
        /// The path, or a placeholder if it does not look like one.
        path: String,
        /// Error of the operating system.
        source: io::Error,
    },
}

impl SettingSources {
    /// Sets an inline value.
    pub fn set(&mut self, name: &str, value: String) {
        self.values.insert(name.to_owned(), ValueSource::Inline(value.into()));
    }

    /// Refers to an environment variable.
    pub fn set_from_env(&mut self, name: &str, variable: &str) {
        self.values.insert(name.to_owned(), ValueSource::Env(variable.to_owned()));
    }

    /// Refers to a file. The policy is reloaded when the file changes.
    pub fn set_from_file(&mut self, name: &str, path: PathBuf) {
        self.values.insert(name.to_owned(), ValueSource::File(path));
    }

    /// Grants a key ring.
    pub fn grant_keyring(&mut self, name: String, ring: KeyRingSource) {
        self.keyrings.insert(name, ring);
    }

    /// Whether the operator named this setting.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Replaces references to the environment, once at startup: the variable `NAME` has the value, or `NAME_FILE` the path
    /// of a file with it.
    ///
    /// # Errors
    /// Neither variable is set, or both are.
    pub fn resolve_env(&mut self, get: impl Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
        self.values.iter_mut().try_for_each(|(name, source)| source.resolve_env(&setting_label(name), &get))?;
        self.keyrings.iter_mut().try_for_each(|(name, source)| source.resolve_env(name, &get))
    }

    /// Reads the current value of every setting. One line ending at the end of a file is not part of the value.
    ///
    /// # Errors
    /// A file cannot be read, a variable was not resolved, or a value is an obvious mistake.
    pub fn read(&self) -> Result<Settings, SettingsError> {
        let read_one = |(name, source): (&String, &ValueSource)| {
            let value = source.read(&setting_label(name))?;
            match mistake(&value) {
                Some(problem) => Err(SettingsError::Mistake { setting: setting_label(name), problem }),
                None => Ok((name.clone(), value)),
            }
        };
        let values = self.values.iter().map(read_one).collect::<Result<_, _>>()?;
        let mut keyrings = KeyRings::default();
        for (name, source) in &self.keyrings {
            keyrings.insert(name.clone(), source.read(name)?);
        }
        Ok(Settings { values, keyrings })
    }

    /// Files that settings refer to.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let keyrings = self.keyrings.values().filter_map(KeyRingSource::file);
        self.values.values().filter_map(ValueSource::file).chain(keyrings)
    }
}

impl From<BTreeMap<String, ValueSource>> for SettingSources {
    fn from(values: BTreeMap<String, ValueSource>) -> Self {
        Self { values, keyrings: BTreeMap::new() }
    }
}

impl SecretSource {
    /// Creates a source with an inline value.
    #[must_use]
    pub fn inline(value: String) -> Self {
        Self(ValueSource::Inline(value.into()))
    }

    /// Creates a source that refers to a file.
    #[must_use]
    pub fn from_file(path: PathBuf) -> Self {
        Self(ValueSource::File(path))
    }

    /// As [`SettingSources::resolve_env`].
    ///
    /// # Errors
    /// Neither variable is set, or both are.
    pub fn resolve_env(&mut self, name: &str, get: impl Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
        self.0.resolve_env(&setting_label(name), get)
    }

    /// The inline value, if it is one.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        match &self.0 {
            ValueSource::Inline(value) => Some(value),
            ValueSource::Env(_) | ValueSource::File(_) => None,
        }
    }

    /// The file that it refers to, if it does.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file()
    }
}

/// Names a setting in an error.
fn setting_label(name: &str) -> String {
    format!("setting `{name}`")
}

/// Collects the texts in a JSON value, but for the ids of keys.
fn collect_texts(json: &serde_json::Value, texts: &mut Vec<Zeroizing<String>>) {
    match json {
        serde_json::Value::String(text) => texts.push(Zeroizing::new(text.clone())),
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        serde_json::Value::Object(members) => {
            let members = members.iter().filter(|(name, _)| *name != "id");
            members.for_each(|(_, member)| collect_texts(member, texts));
        }
        _ => {}
    }
}

/// Why a value may not be the one that the operator meant.
fn doubt(value: &str) -> Option<&'static str> {
    let is_quoted = |quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote);
    if is_quoted('"') || is_quoted('\'') {
        Some("is in quotes, which are part of the value; remove them if they are not meant")
    } else if value.trim() != value {
        Some("begins or ends with blanks or line ends, which are part of the value; remove them if they are not meant")
    } else {
        None
    }
}

impl Settings {
    /// The value of a setting. Pass it to the policy and to nothing else.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.as_str())
    }

    /// All names and values. Pass them to the policy and to nothing else.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Settings whose value may not be the one that the operator meant: the name and the doubt, without the value.
    pub fn doubts(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.iter().filter_map(|(name, value)| Some((name, doubt(value)?)))
    }

    /// Every text that may be a secret: each value, each line of it, and in a JSON value each member that is text.
    pub(crate) fn secret_parts(&self) -> Vec<Zeroizing<String>> {
        let mut parts = Vec::new();
        for (_, value) in self.iter() {
            parts.push(Zeroizing::new(value.to_owned()));
            parts.extend(value.lines().map(|line| Zeroizing::new(line.trim().to_owned())));
            if let Ok(json) = serde_json::from_str(value) {
                collect_texts(&json, &mut parts);
            }
        }
        parts
    }

    /// The ids of the keys in every ring, and in every setting that is a list of keys: `[{"id": "…", …}, …]`.
    pub(crate) fn key_ids(&self) -> BTreeSet<String> {
        #[derive(Deserialize)]
        struct Entry {
            id: String,
        }
        let lists = self.iter().filter_map(|(_, value)| serde_json::from_str::<Vec<Entry>>(value).ok());
        lists.flatten().map(|entry| entry.id).chain(self.keyrings.key_ids().map(str::to_owned)).collect()
    }

    /// Names of the settings.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The key rings that the operator granted.
    #[must_use]
    pub fn keyrings(&self) -> &KeyRings {
        &self.keyrings
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// Returns the name of a variable if it looks like one. An operator may have put a key there by mistake.
fn displayable_variable(name: &str) -> &str {
    let is_name = name.len() <= 40
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_name { name } else { "(not shown: it does not look like a name)" }
}

#[cfg(test)]
mod tests {
    use super::value_source::without_line_ending;
    use super::*;

    #[test]
    fn strips_one_line_ending_from_values_in_files() {
        for (text, value) in [("k", "k"), ("k\n", "k"), ("k\r\n", "k"), ("k\n\n", "k\n"), (" k ", " k "), ("", "")] {
            assert_eq!(*without_line_ending(text.to_owned()), value);
        }
    }

    #[test]
    fn a_variable_has_the_value_or_the_path_of_its_file() {
        let source = |set: &[(&str, &str)]| {
            let mut sources = SettingSources::default();
            sources.set_from_env("key", "KEY");
            let get = |name: &str| set.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
            sources.resolve_env(get).map(|()| sources)
        };
        let inline = source(&[("KEY", "a value")]).unwrap();
        assert_eq!((inline.read().unwrap().get("key"), inline.files().count()), (Some("a value"), 0));
        let file = source(&[("KEY_FILE", "/run/secrets/key")]).unwrap();
        assert_eq!(file.files().collect::<Vec<_>>(), [Path::new("/run/secrets/key")]);
        assert!(matches!(source(&[]).err(), Some(SettingsError::Env { .. })));
        let both = source(&[("KEY", "a value"), ("KEY_FILE", "/run/secrets/key")]).err().unwrap().to_string();
        assert_eq!(both, "setting `key`: both KEY and KEY_FILE are set; remove one of them");
    }

    #[test]
    fn obvious_mistakes_are_refused_without_the_value() {
        for value in ["\u{feff}s3cret", "s3cret\0", "${S3CRET}", " ${S3CRET}\n"] {
            let mut sources = SettingSources::default();
            sources.set("any", value.to_owned());
            let error = sources.read().err().unwrap().to_string();
            assert!(error.starts_with("setting `any`: ") && !error.to_lowercase().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn doubtful_values_are_named() {
        let mut sources = SettingSources::default();
        for (name, value) in [("a", "\"k\""), ("b", "'k'"), ("c", "k "), ("d", "k\n"), ("e", "k k"), ("f", "\"")] {
            sources.set(name, value.to_owned());
        }
        let settings = sources.read().unwrap();
        assert_eq!(settings.doubts().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }

    #[test]
    fn every_key_of_a_ring_is_a_secret_and_every_id_is_known() {
        let mut sources = SettingSources::default();
        sources.set("ring", r#"[{"id":"new","key":"first s3cret"},{"id":"old","key":"other \u0073"}]"#.to_owned());
        sources.set("plain", "a plain s3cret".to_owned());
        let settings = sources.read().unwrap();
        let parts = settings.secret_parts();
        for part in ["first s3cret", "other s", "a plain s3cret"] {
            assert!(parts.iter().any(|other| other.as_str() == part), "{part}");
        }
        assert!(!parts.iter().any(|part| part.as_str() == "new"));
        assert_eq!(settings.key_ids().into_iter().collect::<Vec<_>>(), ["new", "old"]);
    }

    #[test]
    fn numbers_flags_and_lists_become_the_text_that_a_policy_reads() {
        let read = |json: &str| {
            let sources: SettingSources = serde_json::from_str(json).map_err(|error| error.to_string())?;
            Ok::<_, String>(sources.read().unwrap().get("a").unwrap().to_owned())
        };
        for (json, value) in [
            (r#"{"a":3600}"#, "3600"),
            (r#"{"a":true}"#, "true"),
            (r#"{"a":["x","y z"]}"#, "x,y z"),
            (r#"{"a":[]}"#, ""),
            (r#"{"a":"text"}"#, "text"),
        ] {
            assert_eq!(read(json).as_deref(), Ok(value));
        }
        for json in
            [r#"{"a":1.5}"#, r#"{"a":-1}"#, r#"{"a":["x",1]}"#, r#"{"a":{"b":"s3cret"}}"#, r#"{"a":["s3cret,x"]}"#]
        {
            let error = read(json).err().unwrap();
            assert!(error.contains("string") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn debug_prints_names_without_values() {
        let mut sources = SettingSources::default();
        sources.set("signature-keys", "a secret".into());
        let printed = format!("{:?}", sources.read().unwrap());
        assert!(printed.contains("signature-keys") && !printed.contains("secret"));
    }
}
