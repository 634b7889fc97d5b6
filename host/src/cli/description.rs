//! The description that a policy gives of itself, for `check`.

use std::fmt;

use mqtt_gate_engine as engine;
use serde::Serialize;

/// The description that a policy gives of itself. Not verified.
#[derive(Serialize)]
pub(super) struct DescriptionReport<'a> {
    name: &'a str,
    version: &'a str,
    summary: &'a str,
    settings: Vec<SettingReport<'a>>,
    keyrings: Vec<GrantReport<'a>>,
    tables: Vec<GrantReport<'a>>,
    /// The codes in the details of its denials, with their meanings.
    details: Vec<DetailReport<'a>>,
}

#[derive(Serialize)]
struct SettingReport<'a> {
    name: &'a str,
    kind: &'static str,
    required: bool,
    default: Option<&'a str>,
    summary: &'a str,
}

#[derive(Serialize)]
struct GrantReport<'a> {
    name: &'a str,
    required: bool,
    summary: &'a str,
}

#[derive(Serialize)]
struct DetailReport<'a> {
    code: &'a str,
    summary: &'a str,
}

impl<'a> From<&'a engine::Description> for DescriptionReport<'a> {
    fn from(description: &'a engine::Description) -> Self {
        let engine::Description { name, version, summary, settings, keyrings, tables, details } = description;
        let grant =
            |it: &'a engine::GrantRequest| GrantReport { name: &it.name, required: it.required, summary: &it.summary };
        Self {
            name,
            version,
            summary,
            settings: settings.iter().map(SettingReport::from).collect(),
            keyrings: keyrings.iter().map(grant).collect(),
            tables: tables.iter().map(grant).collect(),
            details: details.iter().map(|it| DetailReport { code: &it.code, summary: &it.summary }).collect(),
        }
    }
}

impl<'a> From<&'a engine::SettingDescription> for SettingReport<'a> {
    fn from(setting: &'a engine::SettingDescription) -> Self {
        let engine::SettingDescription { name, kind, required, default, summary } = setting;
        let kind = match kind {
            engine::SettingKind::Text => "text",
            engine::SettingKind::List => "list",
            engine::SettingKind::Number => "number",
            engine::SettingKind::Duration => "duration",
            engine::SettingKind::Boolean => "boolean",
            engine::SettingKind::Secret => "secret",
        };
        Self { name, kind, required: *required, default: default.as_deref(), summary }
    }
}

impl fmt::Display for DescriptionReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { name, version, summary, settings, keyrings, tables, .. } = self;
        write!(f, "{name} {version}: {summary}")?;
        settings.iter().try_for_each(|setting| write!(f, "\n  {setting}"))?;
        keyrings.iter().try_for_each(|ring| write!(f, "\n  key ring {ring}"))?;
        tables.iter().try_for_each(|table| write!(f, "\n  table {table}"))
    }
}

impl fmt::Display for SettingReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { name, kind, required, default, summary } = self;
        let default = match default {
            Some(default) => format!(", default {default}"),
            None if *required => ", required".to_owned(),
            None => String::new(),
        };
        write!(f, "{name} ({kind}{default}): {summary}")
    }
}

impl fmt::Display for GrantReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { name, required, summary } = self;
        write!(f, "{name}{}: {summary}", if *required { " (required)" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_what_an_operator_can_set() {
        let setting = |name: &str, required, default: Option<&str>| engine::SettingDescription {
            name: name.to_owned(),
            kind: engine::SettingKind::List,
            required,
            default: default.map(str::to_owned),
            summary: "S.".to_owned(),
        };
        let description = engine::Description {
            name: "n".to_owned(),
            version: "1.0".to_owned(),
            summary: "Does it.".to_owned(),
            settings: vec![setting("a", true, None), setting("b", false, Some("x,y")), setting("c", false, None)],
            keyrings: vec![engine::GrantRequest { name: "r".to_owned(), required: true, summary: "K.".to_owned() }],
            tables: Vec::new(),
            details: Vec::new(),
        };
        let expected = "n 1.0: Does it.\n  a (list, required): S.\n  b (list, default x,y): S.\n  c (list): S.\n  key ring r (required): K.";
        assert_eq!(DescriptionReport::from(&description).to_string(), expected);
    }
}
