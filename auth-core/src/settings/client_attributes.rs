//! The setting `client-attributes`: attributes of a device for the broker, such as EMQX's `client_attrs`.

use super::template::Template;
use super::value::list_items;
use crate::identity::DeviceId;

/// Attributes with a template for each value.
pub(super) struct ClientAttributes(Vec<(String, Template)>);

impl ClientAttributes {
    /// Parses `name=template` entries, separated by commas.
    pub(super) fn parse(text: Option<String>) -> Result<Self, &'static str> {
        let text = text.unwrap_or_default();
        let mut attributes: Vec<(String, Template)> = Vec::new();
        for entry in list_items(&text) {
            let (name, value) =
                entry.split_once('=').ok_or("an entry has no `=`; write NAME=TEMPLATE, such as tns={group}")?;
            if !is_name(name) {
                return Err(
                    "the name of an attribute is not valid; use A-Z a-z 0-9 _ -, beginning with a letter or a digit",
                );
            }
            if attributes.iter().any(|(other, _)| other == name) {
                return Err("an attribute is in the list twice; remove one");
            }
            if value.contains("${") {
                return Err(
                    "a value contains `${`, which has a special meaning in EMQX; write placeholders as {group}",
                );
            }
            attributes.push((name.to_owned(), Template::parse(value)?));
        }
        Ok(Self(attributes))
    }

    /// The attributes of one device.
    pub(super) fn fill(&self, device: &DeviceId) -> Vec<(String, String)> {
        self.0.iter().map(|(name, value)| (name.clone(), value.fill(device))).collect()
    }
}

/// Whether EMQX keeps an attribute of this name. It drops others silently.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<Vec<(String, String)>, &'static str> {
        let device = DeviceId::parse("GID_a@@@AA_BB_CC_DD_EE_FF@@@uuid").unwrap();
        ClientAttributes::parse(Some(text.to_owned())).map(|attributes| attributes.fill(&device))
    }

    #[test]
    fn attributes_are_filled_for_each_device() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            filled("tns={group}, site = x"),
            Err("the name of an attribute is not valid; use A-Z a-z 0-9 _ -, beginning with a letter or a digit")
        );
        assert_eq!(
            filled("tns={group}, id=dev-{mac}={suffix}"),
            Ok(vec![pair("tns", "GID_a"), pair("id", "dev-AA_BB_CC_DD_EE_FF=uuid")])
        );
        assert_eq!(filled(""), Ok(Vec::new()));
    }

    #[test]
    fn entries_that_emqx_would_drop_or_change_are_rejected() {
        for (text, problem) in [
            ("tns", "no `=`"),
            ("_x=a", "name of an attribute"),
            ("=a", "name of an attribute"),
            ("a=1,a=2", "twice"),
            ("a={mac", "no matching"),
            ("a={nothing}", "unknown placeholder"),
            ("a=${clientid}", "special meaning"),
        ] {
            let error = filled(text).err().unwrap_or_default();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
