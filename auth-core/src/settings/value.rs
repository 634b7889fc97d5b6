//! How single values are read.

use std::fmt;

/// What is wrong with a setting. Names the setting, and never tells its value.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The name of the setting.
    pub name: &'static str,
    /// What is wrong with it, and what to do.
    pub problem: &'static str,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

impl std::error::Error for SettingError {}

pub(crate) fn parse_flag(text: Option<String>) -> Result<bool, &'static str> {
    match text.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err("neither `true` nor `false`"),
    }
}

pub(crate) fn parse_seconds(text: Option<String>) -> Result<Option<u32>, &'static str> {
    let parse = |text: String| text.parse().ok().filter(|&seconds| seconds > 0);
    text.map(|text| parse(text).ok_or("not a whole number of seconds from 1 to 4294967295")).transpose()
}

/// The items of a comma-separated list, without the blank space around them and without empty ones.
pub(crate) fn list_items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}
