//! The settings of the policy, parsed and validated.

use crate::identity::{self, DeviceId};
use crate::signature::KeyRing;
use crate::types::{Access, UnixTime};
use client_attributes::ClientAttributes;
use keys::parse_keys;
use topic_templates::TopicTemplates;
use value::{list_items, parse_flag, parse_seconds};

mod client_attributes;
mod keys;
mod template;
mod topic_templates;
mod value;
pub mod weak_keys;

pub use value::SettingError;

/// The settings of the policy, with at least one usable key.
pub struct Settings {
    pub(crate) keys: KeyRing,
    groups: Groups,
    topics: Option<TopicTemplates>,
    session_seconds: Option<u32>,
    superusers: Vec<String>,
    attributes: ClientAttributes,
}

impl Settings {
    /// Reads every setting of this policy. `get` returns the value of a setting by its name.
    ///
    /// # Errors
    /// Returns the first setting that is missing or malformed.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let fails = |name| move |problem: &'static str| SettingError { name, problem: problem.into() };
        let fails_keys = |problem: String| SettingError { name: "signature-keys", problem: problem.into() };
        let insecure = parse_flag(get("allow-insecure-key")).map_err(fails("allow-insecure-key"))?;
        Ok(Self {
            keys: parse_keys(get("signature-keys"), insecure).map_err(fails_keys)?,
            groups: Groups::parse(get("groups")).map_err(fails("groups"))?,
            topics: TopicTemplates::parse(get("publish-topics"), get("subscribe-topics"))?,
            session_seconds: parse_seconds(get("session-seconds")).map_err(fails("session-seconds"))?,
            superusers: parse_superusers(get("superusers")).map_err(fails("superusers"))?,
            attributes: ClientAttributes::parse(get("client-attributes")).map_err(fails("client-attributes"))?,
        })
    }

    /// Computes the password for a client id and user name, with the first key.
    #[must_use]
    pub fn sign(&self, client_id: &str, username: &str) -> String {
        self.keys.first().sign(client_id, username)
    }

    /// Whether devices of this group may connect.
    #[must_use]
    pub fn allows_group(&self, group: &str) -> bool {
        match &self.groups {
            Groups::Any => true,
            Groups::Only(groups) => groups.iter().any(|allowed| allowed == group),
        }
    }

    /// The topics that this device may use.
    #[must_use]
    pub fn access(&self, device: &DeviceId) -> Access {
        if self.superusers.iter().any(|superuser| superuser == device.client_id) {
            return Access::Everything;
        }
        match &self.topics {
            Some(templates) => Access::Only(templates.fill(device)),
            None => Access::BrokerRules,
        }
    }

    /// The attributes of this device for the broker.
    #[must_use]
    pub fn attributes(&self, device: &DeviceId) -> Vec<(String, String)> {
        self.attributes.fill(device)
    }

    /// The end of a session that begins now; `None` if sessions do not expire.
    #[must_use]
    pub fn session_end(&self, now: impl FnOnce() -> UnixTime) -> Option<UnixTime> {
        self.session_seconds.map(|seconds| UnixTime(now().0.saturating_add(seconds.into())))
    }
}

enum Groups {
    Any,
    Only(Vec<String>),
}

impl Groups {
    fn parse(text: Option<String>) -> Result<Self, &'static str> {
        let text = text.unwrap_or_else(|| "GID_test,GID_gateway".to_owned());
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let groups: Vec<String> = list_items(&text).map(str::to_owned).collect();
        if groups.is_empty() {
            return Err("empty; list the groups that may connect, separated by commas, or write `*` for any");
        }
        if !groups.iter().all(|group| identity::is_group(group)) {
            return Err("a group name is not valid; use 1 to 64 of the characters A-Z a-z 0-9 _ . -, or `*` alone");
        }
        Ok(Self::Only(groups))
    }
}

fn parse_superusers(text: Option<String>) -> Result<Vec<String>, &'static str> {
    let superusers: Vec<String> = list_items(&text.unwrap_or_default()).map(str::to_owned).collect();
    if superusers.iter().any(|client_id| DeviceId::parse(client_id).is_none()) {
        return Err("contains an entry that is not a client id, so no device could match it; \
                    write complete client ids, `group@@@mac@@@suffix`");
    }
    Ok(superusers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Key;

    const KEY: &str = "a key of more than 16 bytes";

    fn read(settings: &[(&str, &str)]) -> Result<Settings, String> {
        let get = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::read(get).map_err(|error| error.to_string())
    }

    /// The error of a setting beside a valid key.
    fn error_for(name: &str, value: &str) -> String {
        read(&[("signature-keys", KEY), (name, value)]).err().unwrap_or_default()
    }

    #[test]
    fn rejects_missing_or_unusable_signature_keys() {
        for (key, expected) in [
            ("", "missing"),
            ("null", "published"),
            ("test-signature-key-12345", "published"),
            ("fifteen bytes 1", "shorter than 16"),
            ("                    ", "missing"),
            (" test-signature-key-12345", "published"),
            ("yourstrongkey123", "published"),
            ("aaaaaaaaaaaaaaaa", "repeats"),
            ("0123456789abcdef\n", "more than one line"),
            ("\u{feff}0123456789abcdef", "byte order mark"),
            ("\u{feff}[{\"id\":\"a\",\"key\":\"0123456789abcdef\"}]", "byte order mark"),
            (r#"{"id":"a","key":"0123456789abcdef"}"#, "JSON object"),
            (r#"[{"id":"a","key":"0123456789abcdef\u0000"}]"#, "NUL"),
            ("[]", "empty"),
            ("\n [] ", "empty"),
            ("[", "JSON array"),
            (r#"["0123456789abcdef"]"#, "JSON array"),
            (r#"[{"id":"a"}]"#, "JSON array"),
            (r#"[{"id":"a","key":"0123456789abcdef","kid":1}]"#, "JSON array"),
            (r#"[{"id":"a","key":""}]"#, "empty"),
            (r#"[{"id":"a","key":"short"}]"#, "shorter"),
            (r#"[{"id":"a b","key":"0123456789abcdef"}]"#, "id of a key"),
            (r#"[{"id":"a","key":"0123456789abcdef"},{"id":"a","key":"0123456789abcdeg"}]"#, "same id"),
        ] {
            let error = read(&[("signature-keys", key)]).err().unwrap_or_default();
            assert!(error.starts_with("signature-keys: ") && error.contains(expected), "{expected}: {error}");
        }
        assert!(read(&[]).is_err());
    }

    #[test]
    fn allow_insecure_key_accepts_weak_keys_but_never_empty_ones() {
        let insecure = ("allow-insecure-key", "true");
        for key in ["null", "k", r#"[{"id":"a","key":"k"}]"#] {
            assert!(read(&[("signature-keys", key), insecure]).is_ok(), "{key}");
        }
        for key in ["", "[]", r#"[{"id":"a","key":""}]"#] {
            assert!(read(&[("signature-keys", key), insecure]).is_err(), "{key}");
        }
        assert!(error_for("allow-insecure-key", "yes").contains("neither"));
    }

    #[test]
    fn signature_key_is_not_trimmed() {
        let settings = read(&[("signature-keys", " a key with spaces around ")]).ok().unwrap();
        let expected = Key::new(None, b" a key with spaces around ").sign("c", "u");
        assert!(settings.keys.find_matching_key("c", "u", expected.as_bytes()).is_some());
    }

    #[test]
    fn allows_only_listed_groups() {
        let with = |groups| read(&[("signature-keys", KEY), ("groups", groups)]).ok().unwrap();
        assert!(with("a, b").allows_group("b") && !with("a, b").allows_group("c") && with("*").allows_group("c"));
        let default = read(&[("signature-keys", KEY)]).ok().unwrap();
        assert!(
            default.allows_group("GID_test")
                && default.allows_group("GID_gateway")
                && !default.allows_group("GID_other")
        );
        for bad in ["", " , ", "a b", "a,*", "ü"] {
            assert!(error_for("groups", bad).starts_with("groups: "), "{bad}");
        }
    }

    #[test]
    fn error_names_the_malformed_setting() {
        for (name, value) in [
            ("session-seconds", "0"),
            ("session-seconds", "-1"),
            ("session-seconds", "1h"),
            ("session-seconds", "4294967296"),
            ("superusers", "admin"),
            ("publish-topics", "a/#/b"),
            ("subscribe-topics", "a/{mac"),
        ] {
            assert!(error_for(name, value).starts_with(&format!("{name}: ")), "{name} = {value}");
        }
    }
}
