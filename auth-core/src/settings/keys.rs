//! The setting `signature-keys`: one key as plain text, or a JSON array of keys with ids.

use serde::Deserialize;

use crate::signature::{Key, KeyRing};

/// Minimum length of a key, unless `allow-insecure-key` is set. HMAC keys of 128 bits cannot be guessed.
pub const MIN_KEY_BYTES: usize = 16;

/// Keys that appear in published source code or documentation of existing generators and validators.
const PUBLISHED_KEYS: [&str; 5] =
    ["test-signature-key-12345", "null", "test", "mqtt_key", "your_ota_signature_key_here"];

/// Parses the setting. `insecure` is the setting `allow-insecure-key`.
pub(crate) fn parse_keys(text: Option<String>, insecure: bool) -> Result<KeyRing, &'static str> {
    let text =
        text.filter(|text| !is_blank(text)).ok_or("missing; set it to the key that signs the devices' passwords")?;
    if !text.trim_start().starts_with('[') {
        validate_secret(&text, insecure)?;
        return KeyRing::new([Key::new(None, text.as_bytes())]).ok_or("missing");
    }
    let listed: Vec<KeyEntry> = serde_json::from_str(&text).map_err(|_| MALFORMED_ARRAY)?;
    for (at, key) in listed.iter().enumerate() {
        if !is_key_id(&key.id) {
            return Err("the id of a key is not valid; use 1 to 64 of the characters A-Z a-z 0-9 _ . -");
        }
        if listed.iter().take(at).any(|earlier| earlier.id == key.id) {
            return Err("two keys have the same id; give each key a different id");
        }
        validate_secret(&key.key, insecure)?;
    }
    KeyRing::new(listed.into_iter().map(|key| Key::new(Some(key.id), key.key.as_bytes())))
        .ok_or("the list of keys is empty; add at least one key")
}

const MALFORMED_ARRAY: &str =
    "begins with `[` but is not a JSON array of objects; write [{\"id\": \"…\", \"key\": \"…\"}]";

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

fn validate_secret(secret: &str, insecure: bool) -> Result<(), &'static str> {
    if is_blank(secret) {
        return Err("a key is empty; make one with `openssl rand -hex 32`");
    }
    if insecure {
        return Ok(());
    }
    if PUBLISHED_KEYS.contains(&secret.trim()) {
        return Err("this key appears in published source code; make one of your own (`openssl rand -hex 32`), \
                    or set allow-insecure-key to true");
    }
    if secret.len() < MIN_KEY_BYTES {
        return Err("a key is shorter than 16 bytes; make a longer one (`openssl rand -hex 32`), \
                    or set allow-insecure-key to true");
    }
    Ok(())
}

/// Whether the key has no visible character. HMAC pads keys with NUL, so a key of NULs equals the empty key.
fn is_blank(secret: &str) -> bool {
    secret.chars().all(|c| c.is_whitespace() || c == '\0')
}
