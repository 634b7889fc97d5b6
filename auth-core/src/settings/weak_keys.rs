//! Values that are no secret: mistakes in a file or a variable, published keys, and keys that can be guessed.

/// Minimum length of a key, unless `allow-insecure-key` is set. HMAC keys of 128 bits cannot be guessed.
pub const MIN_KEY_BYTES: usize = 16;

/// Different bytes that a random key of 16 hexadecimal digits has at least. Fewer occur once in 10,000 keys.
const MIN_DIFFERENT_BYTES: usize = 6;

/// Keys that appear in published source code, documentation or sample files of generators and validators.
const PUBLISHED_KEYS: [&str; 8] = [
    "test-signature-key-12345",
    "null",
    "test",
    "mqtt_key",
    "your_ota_signature_key_here",
    "YourStrongKey123",
    "YOUR_STRONG_MQTT_SIGNING_SECRET",
    "SecureEspMqttKey2026",
];

/// Parts of texts that ask for a key, in lower case.
const PLACEHOLDERS: [&str; 6] = ["your-", "your_", "changeme", "change-me", "change_me", "change-this"];

/// Why a value cannot be the secret that the operator meant, whatever the operator allows.
///
/// The text never contains the value.
#[must_use]
pub fn mistake(secret: &str) -> Option<&'static str> {
    if secret.chars().all(|c| c.is_whitespace() || c == '\0') {
        Some("is empty; make one with `openssl rand -hex 32`")
    } else if secret.starts_with('\u{feff}') {
        Some("begins with a byte order mark; save the file as UTF-8 without one")
    } else if secret.contains('\0') {
        // HMAC pads keys with NUL: such a key equals the one without them.
        Some("contains a NUL byte; write the file as plain text")
    } else if secret.contains(['\n', '\r']) {
        Some("has more than one line; leave one line in the file, with at most one line end")
    } else if is_enclosed(secret, "${", "}") {
        Some("is a variable that was not replaced; write { env = \"NAME\" } or { file = \"PATH\" }")
    } else if is_enclosed(secret, "<", ">") {
        Some("is a placeholder in angle brackets; make a key with `openssl rand -hex 32`")
    } else if is_assignment(secret) {
        Some("begins with the name of a variable and `=`; leave only the value")
    } else {
        None
    }
}

/// Why a secret can be guessed. The text never contains the secret.
#[must_use]
pub fn weakness(secret: &str) -> Option<&'static str> {
    let trimmed = secret.trim();
    let lower = trimmed.to_ascii_lowercase();
    if PUBLISHED_KEYS.iter().any(|published| published.eq_ignore_ascii_case(trimmed))
        || PLACEHOLDERS.iter().any(|part| lower.contains(part))
    {
        Some("appears in published source code or sample files")
    } else if secret.len() < MIN_KEY_BYTES {
        Some("is shorter than 16 bytes")
    } else if different_bytes(secret) < MIN_DIFFERENT_BYTES || repeated_bytes(secret) < MIN_KEY_BYTES {
        Some("repeats a few characters")
    } else {
        None
    }
}

fn is_enclosed(text: &str, start: &str, end: &str) -> bool {
    text.trim().starts_with(start) && text.trim().ends_with(end)
}

/// Whether a text is `NAME=value`, as in a file of environment variables. Base64 ends with `=`, and has no `_` before it.
fn is_assignment(text: &str) -> bool {
    let Some((name, value)) = text.trim_start().split_once('=') else { return false };
    let name = name.strip_prefix("export ").unwrap_or(name);
    let is_name = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    is_name && name.contains('_') && !value.trim_matches('=').is_empty()
}

fn different_bytes(text: &str) -> usize {
    let mut bytes = text.as_bytes().to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    bytes.len()
}

/// Length of the shortest text whose repetition this is.
fn repeated_bytes(text: &str) -> usize {
    let bytes = text.as_bytes();
    let repeats = |length: &usize| bytes.iter().zip(bytes.iter().skip(*length)).all(|(one, other)| one == other);
    (1..bytes.len()).find(repeats).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_apart() {
        for (secret, expected) in [
            ("", "empty"),
            (" \0\t", "empty"),
            ("\u{feff}0123456789abcdef", "byte order mark"),
            ("test-signature-key-12345\0", "NUL"),
            ("null\0\0\0\0\0\0\0\0\0\0\0\0", "NUL"),
            ("0123456789abcdef\n", "more than one line"),
            ("# the key\r\n0123456789abcdef", "more than one line"),
            ("${MQTT_SIGNATURE_KEY}", "not replaced"),
            ("<your-signature-key>", "angle brackets"),
            ("MQTT_SIGNATURE_KEY=0123456789abcdef", "name of a variable"),
            ("export MQTT_SIGNATURE_KEY=0123456789abcdef", "name of a variable"),
        ] {
            assert!(mistake(secret).is_some_and(|problem| problem.contains(expected)), "{expected}");
        }
        for fine in ["0123456789abcdef", "QUJDREVGR0hJSktMTU5PUA==", "a=b", "$\u{7b}a", " x ", "ABC_DEF_GHI_JKL="] {
            assert_eq!(mistake(fine), None, "{fine}");
        }
    }

    #[test]
    fn weak_secrets_are_found() {
        for secret in [
            "null",
            "yourstrongkey123",
            "SecureEspMqttKey2026",
            "my-your-signature-key-1",
            "please-change-me-now",
            "fifteen bytes 1",
            "aaaaaaaaaaaaaaaa",
            "ababababababababab",
            "passwordpassword",
            "0123456789012345678901234567890123456789",
        ] {
            assert!(weakness(secret).is_some(), "{secret}");
        }
        for strong in ["0123456789abcdef", "a key of these tests, 32 bytes..", "5f4dcc3b5aa765d61d8327deb882cf99"] {
            assert_eq!(weakness(strong), None, "{strong}");
        }
    }
}
