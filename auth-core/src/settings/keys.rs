//! The setting `signature-keys`.

use serde::Deserialize;

use crate::signature::{Key, KeyRing};

/// Fewer bytes than this are no key, unless `allow-insecure-key` says so.
pub const MIN_KEY_BYTES: usize = 16;

/// Keys that stand in published source code or documentation of the generators and validators in the field.
const PUBLISHED_KEYS: [&str; 5] =
    ["test-signature-key-12345", "null", "test", "mqtt_key", "your_ota_signature_key_here"];

/// One key as plain text, or a JSON array of keys with their ids.
pub(crate) fn parse_keys(text: Option<String>, insecure: bool) -> Result<KeyRing, &'static str> {
    let text = text.filter(|text| !is_blank(text)).ok_or("missing; give the key that signs the devices' passwords")?;
    if !text.trim_start().starts_with('[') {
        validate_secret(&text, insecure)?;
        return KeyRing::new([Key::new(None, text.as_bytes())]).ok_or("missing");
    }
    let listed: Vec<KeyEntry> = serde_json::from_str(&text).map_err(|_| MALFORMED_RING)?;
    for (at, key) in listed.iter().enumerate() {
        if !is_key_id(&key.id) {
            return Err("the id of a key is 1 to 64 of the characters A-Z a-z 0-9 _ . -");
        }
        if listed.iter().take(at).any(|earlier| earlier.id == key.id) {
            return Err("two keys have the same id");
        }
        validate_secret(&key.key, insecure)?;
    }
    KeyRing::new(listed.into_iter().map(|key| Key::new(Some(key.id), key.key.as_bytes())))
        .ok_or("the list of keys is empty")
}

const MALFORMED_RING: &str = "begins with `[` and is not a JSON array of objects {\"id\": \"…\", \"key\": \"…\"}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    key: String,
}

fn is_key_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn validate_secret(secret: &str, insecure: bool) -> Result<(), &'static str> {
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
    if secret.len() < MIN_KEY_BYTES {
        return Err("a key is shorter than 16 bytes; make a longer one (`openssl rand -hex 32`), \
                    or set allow-insecure-key to true");
    }
    Ok(())
}

/// Whether nothing can be seen of it. A NUL is zero-padding to HMAC, so that a key of them is the empty key.
fn is_blank(secret: &str) -> bool {
    secret.chars().all(|c| c.is_whitespace() || c == '\0')
}
