//! Parsers of single values, and their error.

use std::borrow::Cow;
use std::fmt;

/// An invalid setting. Contains the setting's name, never its value.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The name of the setting.
    pub name: &'static str,
    /// The problem, and how to fix it. Never contains the value.
    pub problem: Cow<'static, str>,
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
        Some(_) => Err("neither `true` nor `false`; write one of the two"),
    }
}

pub(crate) fn parse_seconds(text: Option<String>) -> Result<Option<u32>, &'static str> {
    let parse = |text: String| text.parse().ok().filter(|&seconds| seconds > 0);
    text.map(|text| {
        parse(text).ok_or("not a whole number of seconds from 1 to 4294967295; write digits only, such as 3600")
    })
    .transpose()
}

/// Splits a comma-separated list. Trims each item and skips empty ones.
pub(crate) fn list_items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_flags_and_seconds() {
        let flags = [(None, Ok(false)), (Some("false"), Ok(false)), (Some("true"), Ok(true))];
        for (text, flag) in flags {
            assert_eq!(parse_flag(text.map(str::to_owned)), flag);
        }
        assert!(parse_flag(Some("TRUE".to_owned())).is_err());
        assert_eq!(parse_seconds(None), Ok(None));
        assert_eq!(parse_seconds(Some("4294967295".to_owned())), Ok(Some(u32::MAX)));
        for text in ["", "0", "-1", "1.5", "1h", "4294967296"] {
            assert!(parse_seconds(Some(text.to_owned())).is_err(), "{text}");
        }
    }

    #[test]
    fn splits_lists_at_commas_and_skips_empty_items() {
        assert_eq!(list_items(" a, b@@@c ,,d e, ").collect::<Vec<_>>(), ["a", "b@@@c", "d e"]);
        assert_eq!(list_items(" , ").count(), 0);
    }
}
