//! One value as the operator wrote it.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use zeroize::Zeroizing;

use super::SettingsError;
use crate::util::file::{displayable_path, read_file};

/// Where a value comes from.
#[derive(Clone, PartialEq)]
pub(super) enum ValueSource {
    Inline(Zeroizing<String>),
    Env(String),
    File(PathBuf),
}

impl ValueSource {
    pub(super) fn resolve_env(
        &mut self,
        name: &str,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<(), SettingsError> {
        if let Self::Env(variable) = self {
            let (setting, variable) = (name.to_owned(), variable.clone());
            // The usual variable for a secret that Docker mounts as a file.
            *self = match (get(&variable), get(&format!("{variable}_FILE"))) {
                (Some(value), None) => Self::Inline(value.into()),
                (None, Some(path)) => Self::File(path.into()),
                (Some(_), Some(_)) => return Err(SettingsError::EnvTwice { setting, variable }),
                (None, None) => return Err(SettingsError::Env { setting, variable }),
            };
        }
        Ok(())
    }

    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Inline(_) | Self::Env(_) => None,
        }
    }

    pub(super) fn read(&self, setting: &str) -> Result<Zeroizing<String>, SettingsError> {
        match self {
            Self::Inline(value) => Ok(value.clone()),
            Self::Env(variable) => Err(SettingsError::Env { setting: setting.to_owned(), variable: variable.clone() }),
            Self::File(path) => match read_file(path)
                .and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8")))
            {
                Ok(text) => Ok(without_line_ending(text)),
                Err(source) => {
                    let (setting, path) = (setting.to_owned(), displayable_path(path).into_owned());
                    Err(SettingsError::File { setting, path, source })
                }
            },
        }
    }
}

/// Why a value cannot be the one that the operator meant, whatever policy reads it.
pub(super) fn mistake(value: &str) -> Option<&'static str> {
    if value.starts_with('\u{feff}') {
        Some("begins with a byte order mark; save the file as UTF-8 without one")
    } else if value.contains('\0') {
        Some("contains a NUL byte; write the file as plain text")
    } else if value.trim().starts_with("${") && value.trim().ends_with('}') {
        Some("is a variable that was not replaced; write { env = \"NAME\" } or { file = \"PATH\" }")
    } else {
        None
    }
}

pub(super) fn without_line_ending(text: String) -> Zeroizing<String> {
    let mut text = Zeroizing::new(text);
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

impl<'de> Deserialize<'de> for ValueSource {
    /// Every error has the same text: an error of the parser could contain the value, which may be a secret.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, deny_unknown_fields)]
        enum Written {
            Inline(String),
            Number(u64),
            Flag(bool),
            List(Vec<String>),
            Env { env: String },
            File { file: PathBuf },
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Inline(value)) => Ok(Self::Inline(value.into())),
            Ok(Written::Number(number)) => Ok(Self::Inline(number.to_string().into())),
            Ok(Written::Flag(flag)) => Ok(Self::Inline(flag.to_string().into())),
            // An item with a comma would become two.
            Ok(Written::List(items)) if !items.iter().any(|item| item.contains(',')) => {
                Ok(Self::Inline(items.join(",").into()))
            }
            Ok(Written::List(_)) => {
                Err(D::Error::custom("an item of a list contains a comma; write the setting as one string"))
            }
            Ok(Written::Env { env }) => Ok(Self::Env(env)),
            Ok(Written::File { file }) => Ok(Self::File(file)),
            Err(_) => Err(D::Error::custom(
                "a setting is a string, a whole number, true or false, a list of strings, { env = \"NAME\" } or \
                 { file = \"PATH\" }",
            )),
        }
    }
}
