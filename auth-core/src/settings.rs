//! What the operator wrote, parsed and judged.

use std::fmt;

use serde::Deserialize;

use crate::identity::{self, DeviceId};
use crate::signature::{Key, KeyRing};
use crate::topics::{Templates, Topics};
use crate::{Access, UnixTime};

/// Fewer bytes than this are no key, unless `allow-insecure-key` says so.
pub const MIN_KEY: usize = 16;

/// Keys that stand in published source code or documentation of the generators and validators in the field.
const PUBLISHED_KEYS: [&str; 5] =
    ["test-signature-key-12345", "null", "test", "mqtt_key", "your_ota_signature_key_here"];

/// The settings of the policy. There are none without a usable key.
pub struct Settings {
    pub(crate) keys: KeyRing,
    groups: Groups,
    topics: Option<Templates>,
    session_seconds: Option<u32>,
    superusers: Vec<String>,
}

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

impl Settings {
    /// Reads every setting of this policy from `get`, which gives the value of a name.
    ///
    /// # Errors
    /// The first setting that is missing or malformed.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let fails = |name| move |problem| SettingError { name, problem };
        let insecure = flag(get("allow-insecure-key")).map_err(fails("allow-insecure-key"))?;
        Ok(Self {
            keys: key_ring(get("signature-keys"), insecure).map_err(fails("signature-keys"))?,
            groups: Groups::parse(get("groups")).map_err(fails("groups"))?,
            topics: Templates::parse(get("publish-topics"), get("subscribe-topics"))?,
            session_seconds: seconds(get("session-seconds")).map_err(fails("session-seconds"))?,
            superusers: superusers(get("superusers")).map_err(fails("superusers"))?,
        })
    }

    /// The password of a device with this client id and user name, by the first key.
    #[must_use]
    pub fn sign(&self, client_id: &str, username: &str) -> String {
        self.keys.first().sign(client_id, username)
    }

    /// Whether devices of this group are let in.
    #[must_use]
    pub fn lets_in(&self, group: &str) -> bool {
        match &self.groups {
            Groups::Any => true,
            Groups::These(groups) => groups.iter().any(|one| one == group),
        }
    }

    /// What this device may use once it is let in.
    #[must_use]
    pub fn access(&self, device: &DeviceId) -> Access {
        if self.superusers.iter().any(|superuser| superuser == device.client_id) {
            return Access::Everything;
        }
        match &self.topics {
            Some(templates) => Access::Only(Topics::of(templates, device)),
            None => Access::BrokerRules,
        }
    }

    /// When a session that begins now ends.
    #[must_use]
    pub fn session_end(&self, now: impl FnOnce() -> UnixTime) -> Option<UnixTime> {
        self.session_seconds.map(|seconds| UnixTime(now().0.saturating_add(seconds.into())))
    }
}

enum Groups {
    Any,
    These(Vec<String>),
}

impl Groups {
    fn parse(text: Option<String>) -> Result<Self, &'static str> {
        let text = text.unwrap_or_else(|| "GID_test,GID_gateway".to_owned());
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let groups: Vec<String> = items(&text).map(str::to_owned).collect();
        if groups.is_empty() {
            return Err("empty; name the groups to let in, separated by commas, or `*` for any");
        }
        if !groups.iter().all(|group| identity::is_group(group)) {
            return Err("a group is 1 to 64 of the characters A-Z a-z 0-9 _ -, and `*` stands alone");
        }
        Ok(Self::These(groups))
    }
}

/// One key as plain text, or a JSON array of keys with their ids.
fn key_ring(text: Option<String>, insecure: bool) -> Result<KeyRing, &'static str> {
    let text = text.filter(|text| !is_blank(text)).ok_or("missing; give the key that signs the devices' passwords")?;
    if !text.trim_start().starts_with('[') {
        judge_secret(&text, insecure)?;
        return KeyRing::new([Key::new(None, text.as_bytes())]).ok_or("missing");
    }
    let listed: Vec<ListedKey> = serde_json::from_str(&text).map_err(|_| MALFORMED_RING)?;
    for (at, key) in listed.iter().enumerate() {
        if !is_key_id(&key.id) {
            return Err("the id of a key is 1 to 64 of the characters A-Z a-z 0-9 _ . -");
        }
        if listed.iter().take(at).any(|earlier| earlier.id == key.id) {
            return Err("two keys have the same id");
        }
        judge_secret(&key.key, insecure)?;
    }
    KeyRing::new(listed.into_iter().map(|key| Key::new(Some(key.id), key.key.as_bytes())))
        .ok_or("the list of keys is empty")
}

const MALFORMED_RING: &str = "begins with `[` and is not a JSON array of objects {\"id\": \"…\", \"key\": \"…\"}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedKey {
    id: String,
    key: String,
}

fn is_key_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn judge_secret(secret: &str, insecure: bool) -> Result<(), &'static str> {
    if is_blank(secret) {
        return Err("a key is empty");
    }
    if insecure {
        return Ok(());
    }
    if PUBLISHED_KEYS.contains(&secret.trim()) {
        return Err("this key stands in published source code; make one of your own (`openssl rand -hex 32`), \
                    or set allow-insecure-key to true");
    }
    if secret.len() < MIN_KEY {
        return Err("a key is shorter than 16 bytes; make a longer one (`openssl rand -hex 32`), \
                    or set allow-insecure-key to true");
    }
    Ok(())
}

/// Whether nothing can be seen of it. A NUL is zero-padding to HMAC, so that a key of them is the empty key.
fn is_blank(secret: &str) -> bool {
    secret.chars().all(|c| c.is_whitespace() || c == '\0')
}

fn flag(text: Option<String>) -> Result<bool, &'static str> {
    match text.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err("neither `true` nor `false`"),
    }
}

fn seconds(text: Option<String>) -> Result<Option<u32>, &'static str> {
    let parse = |text: String| text.parse().ok().filter(|&seconds| seconds > 0);
    text.map(|text| parse(text).ok_or("not a whole number of seconds from 1 to 4294967295")).transpose()
}

fn superusers(text: Option<String>) -> Result<Vec<String>, &'static str> {
    let superusers: Vec<String> = items(&text.unwrap_or_default()).map(str::to_owned).collect();
    if superusers.iter().any(|client_id| DeviceId::parse(client_id).is_none()) {
        return Err("holds something that is not a client id `group@@@mac@@@third`, so nobody could have it");
    }
    Ok(superusers)
}

/// The items of a comma-separated list, without the blank space around them and without empty ones.
pub(crate) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a key of more than 16 bytes";

    fn read(settings: &[(&str, &str)]) -> Result<Settings, String> {
        let get = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::read(get).map_err(|error| error.to_string())
    }

    /// What is said of a setting that stands beside a good key.
    fn complaint(name: &str, value: &str) -> String {
        read(&[("signature-keys", KEY), (name, value)]).err().unwrap_or_default()
    }

    #[test]
    fn there_are_no_settings_without_a_usable_key() {
        for (key, complaint) in [
            ("", "missing"),
            ("null", "published"),
            ("test-signature-key-12345", "published"),
            ("fifteen bytes 1", "shorter than 16"),
            ("                    ", "missing"),
            (" test-signature-key-12345\n", "published"),
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
            assert!(error.starts_with("signature-keys: ") && error.contains(complaint), "{complaint}: {error}");
        }
        assert!(read(&[]).is_err());
    }

    #[test]
    fn an_insecure_key_is_taken_when_asked_for_and_an_empty_one_never() {
        let insecure = ("allow-insecure-key", "true");
        for key in ["null", "k", r#"[{"id":"a","key":"k"}]"#] {
            assert!(read(&[("signature-keys", key), insecure]).is_ok(), "{key}");
        }
        for key in ["", "[]", r#"[{"id":"a","key":""}]"#] {
            assert!(read(&[("signature-keys", key), insecure]).is_err(), "{key}");
        }
        assert!(complaint("allow-insecure-key", "yes").contains("neither"));
    }

    #[test]
    fn a_key_is_never_trimmed() {
        let settings = read(&[("signature-keys", " a key with spaces around ")]).ok().unwrap();
        let expected = Key::new(None, b" a key with spaces around ").sign("c", "u");
        assert!(settings.keys.vouching_for("c", "u", expected.as_bytes()).is_some());
    }

    #[test]
    fn groups_are_those_named() {
        let with = |groups| read(&[("signature-keys", KEY), ("groups", groups)]).ok().unwrap();
        assert!(with("a, b").lets_in("b") && !with("a, b").lets_in("c") && with("*").lets_in("c"));
        let default = read(&[("signature-keys", KEY)]).ok().unwrap();
        assert!(default.lets_in("GID_test") && default.lets_in("GID_gateway") && !default.lets_in("GID_other"));
        for bad in ["", " , ", "a b", "a,*", "ü"] {
            assert!(complaint("groups", bad).starts_with("groups: "), "{bad}");
        }
    }

    #[test]
    fn malformed_settings_are_named() {
        for (name, value) in [
            ("session-seconds", "0"),
            ("session-seconds", "-1"),
            ("session-seconds", "1h"),
            ("session-seconds", "4294967296"),
            ("superusers", "admin"),
            ("publish-topics", "a/#/b"),
            ("subscribe-topics", "a/{mac"),
        ] {
            assert!(complaint(name, value).starts_with(&format!("{name}: ")), "{name} = {value}");
        }
    }
}
