//! The description that a policy gives of itself.

use super::LoadError;
use super::contract::{Description, Detail, GrantRequest, SettingDescription};
use crate::keyring::KeyRings;

/// Entries of each list that are kept.
const MAX_ENTRIES: usize = 64;

/// Edits that make one name of another. More are another name.
const MAX_EDITS: usize = 2;

impl Description {
    /// Changes every text, and cuts the lists.
    pub(super) fn map_texts(self, map: impl Fn(&str) -> String) -> Self {
        fn cut<T>(list: Vec<T>, map: impl Fn(T) -> T) -> Vec<T> {
            list.into_iter().take(MAX_ENTRIES).map(map).collect()
        }
        let Self { name, version, summary, settings, keyrings, tables, details } = self;
        let grant = |it: GrantRequest| GrantRequest { name: map(&it.name), summary: map(&it.summary), ..it };
        Self {
            name: map(&name),
            version: map(&version),
            summary: map(&summary),
            settings: cut(settings, |it| SettingDescription {
                name: map(&it.name),
                default: it.default.map(|default| map(&default)),
                summary: map(&it.summary),
                ..it
            }),
            keyrings: cut(keyrings, grant),
            tables: cut(tables, grant),
            details: cut(details, |it| Detail { code: map(&it.code), summary: map(&it.summary) }),
        }
    }

    /// Checks the names of settings. The policy would not read one that is misspelt, and use a default instead.
    ///
    /// # Errors
    /// A name is almost that of a declared setting.
    pub(super) fn check_names<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), LoadError> {
        let is_declared = |name: &str| self.settings.iter().any(|setting| setting.name == name);
        for name in names.filter(|name| !is_declared(name)) {
            if let Some(setting) = self.settings.iter().find(|setting| is_almost(name, &setting.name)) {
                let (name, declared) = (name.to_owned(), setting.name.clone());
                return Err(LoadError::MisspeltSetting { name, declared });
            }
        }
        Ok(())
    }

    /// Checks that every required key ring was granted.
    ///
    /// # Errors
    /// One was not.
    pub(super) fn check_keyrings(&self, granted: &KeyRings) -> Result<(), LoadError> {
        let is_missing = |ring: &&GrantRequest| ring.required && granted.names().all(|name| name != ring.name);
        match self.keyrings.iter().find(is_missing) {
            Some(ring) => Err(LoadError::NoKeyRing(Some(ring.name.clone()))),
            None => Ok(()),
        }
    }
}

/// Whether a few edits make one name of the other. Short names differ by few letters anyway.
fn is_almost(name: &str, declared: &str) -> bool {
    let edits = strsim::osa_distance(name, declared);
    edits <= MAX_EDITS && edits * 3 < declared.len()
}

#[cfg(test)]
mod tests {
    use super::super::SettingKind;
    use super::*;

    fn description(names: &[&str]) -> Description {
        let setting = |name: &&str| SettingDescription {
            name: (*name).to_owned(),
            kind: SettingKind::Text,
            required: false,
            default: Some("d".to_owned()),
            summary: "s".to_owned(),
        };
        Description {
            name: "n".to_owned(),
            version: "1".to_owned(),
            summary: String::new(),
            settings: names.iter().map(setting).collect(),
            keyrings: Vec::new(),
            tables: Vec::new(),
            details: Vec::new(),
        }
    }

    #[test]
    fn a_name_within_two_edits_of_a_declared_one_is_refused() {
        let description = description(&["signature-keys", "groups", "ttl"]);
        for (name, declared) in [
            ("signature-key", Some("signature-keys")),
            ("singature-keys", Some("signature-keys")),
            ("Signature-Keys", Some("signature-keys")),
            ("group", Some("groups")),
            ("signature-keys", None),
            ("signing-keys", None),
            ("clients", None),
            ("tls", None),
            ("", None),
        ] {
            let result = description.check_names([name].into_iter());
            match (result, declared) {
                (Err(LoadError::MisspeltSetting { declared: found, .. }), Some(declared)) => {
                    assert_eq!(found, declared)
                }
                (Ok(()), None) => {}
                (result, _) => panic!("{name}: {result:?}"),
            }
        }
    }

    #[test]
    fn every_text_is_mapped_and_lists_are_cut() {
        let names = vec!["a"; MAX_ENTRIES + 1];
        let mapped = description(&names).map_texts(|text| format!("<{text}>"));
        assert_eq!((mapped.name.as_str(), mapped.version.as_str(), mapped.settings.len()), ("<n>", "<1>", MAX_ENTRIES));
        let SettingDescription { name, default, summary, .. } = &mapped.settings[0];
        assert_eq!((name.as_str(), default.as_deref(), summary.as_str()), ("<a>", Some("<d>"), "<s>"));
    }
}
