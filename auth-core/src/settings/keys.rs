//! The setting `signature-keys`: one key as plain text, or a JSON array of keys with ids.

use serde::Deserialize;

use super::weak_keys::{mistake, weakness};
use crate::signature::{Key, KeyRing};

/// Parses the setting. `insecure` is the setting `allow-insecure-key`.
pub(crate) fn parse_keys(text: Option<String>, insecure: bool) -> Result<KeyRing, String> {
    let text = text
        .filter(|text| !text.trim().is_empty())
        .ok_or("missing; set it to the key that signs the devices' passwords")?;
    match text.trim_start_matches('\u{feff}').trim_start().chars().next() {
        Some('[') => parse_array(&text, insecure),
        Some('{') if serde_json::from_str::<serde_json::Map<_, _>>(&text).is_ok() => Err(OBJECT.to_owned()),
        _ => {
            validate_secret(&text, insecure)?;
            KeyRing::new([Key::new(None, text.as_bytes())]).ok_or_else(|| "missing".to_owned())
        }
    }
}

fn parse_array(text: &str, insecure: bool) -> Result<KeyRing, String> {
    if text.starts_with('\u{feff}') {
        return Err("begins with a byte order mark; save the file as UTF-8 without one".to_owned());
    }
    let listed: Vec<KeyEntry> = serde_json::from_str(text).map_err(|_| MALFORMED_ARRAY)?;
    for (at, key) in listed.iter().enumerate() {
        if !is_key_id(&key.id) {
            return Err("the id of a key is not valid; use 1 to 64 of the characters A-Z a-z 0-9 _ . -".to_owned());
        }
        if listed.iter().take(at).any(|earlier| earlier.id == key.id) {
            return Err("two keys have the same id; give each key a different id".to_owned());
        }
        validate_secret(&key.key, insecure)?;
    }
    KeyRing::new(listed.into_iter().map(|key| Key::new(Some(key.id), key.key.as_bytes())))
        .ok_or_else(|| "the list of keys is empty; add at least one key".to_owned())
}

const MALFORMED_ARRAY: &str =
    "begins with `[` but is not a JSON array of objects; write [{\"id\": \"…\", \"key\": \"…\"}]";

const OBJECT: &str = "is a JSON object; write an array: [{\"id\": \"…\", \"key\": \"…\"}]";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    key: String,
}

/// Whether the id can be a key id in a grant. The host checks the same format before it logs one.
fn is_key_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn validate_secret(secret: &str, insecure: bool) -> Result<(), String> {
    if let Some(problem) = mistake(secret) {
        return Err(format!("a key {problem}"));
    }
    match weakness(secret) {
        Some(problem) if !insecure => Err(format!(
            "a key {problem}; make one of your own (`openssl rand -hex 32`), or set allow-insecure-key to true for a test"
        )),
        _ => Ok(()),
    }
}
