//! The signature in the password: HMAC-SHA256 over client id and user name.

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The bytes of a signature.
type Mac = [u8; 32];

/// A signature key.
///
/// Holds the two SHA-256 states that begin every HMAC under the key, not the key itself, so that a login does not
/// compute them again. It has no `Debug`: a key is never printed.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    initial: Hmac<Sha256>,
}

impl Key {
    /// Creates a key. `id` is the operator's name for it. `secret` is not trimmed.
    #[must_use]
    pub fn new(id: Option<String>, secret: &[u8]) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length; other algorithms of the trait do not")]
        let initial = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
        Self { id, initial }
    }

    /// The operator's name for the key, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Computes the password for a client id and user name, as the text that the device sends.
    #[must_use]
    pub fn sign(&self, client_id: &str, username: &str) -> String {
        BASE64_STANDARD.encode(self.mac(client_id, username))
    }

    fn mac(&self, client_id: &str, username: &str) -> Mac {
        let mut mac = self.initial.clone();
        mac.update(client_id.as_bytes());
        mac.update(b"|");
        mac.update(username.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Whether `mac` is the signature under this key. Compares in constant time.
    fn verify(&self, client_id: &str, username: &str, mac: &Mac) -> bool {
        to_words(&self.mac(client_id, username)).ct_eq(&to_words(mac)).into()
    }
}

/// Splits a signature into words of 8 bytes, the widest type that `subtle` compares at once.
fn to_words(mac: &Mac) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(mac.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// Decodes a password. Only canonical base64 is accepted, so that each signature has exactly one password.
fn decode_password(password: &[u8]) -> Option<Mac> {
    // One byte of spare room: the decoder may check the capacity before the exact length.
    let mut decoded = [0; 33];
    let length = BASE64_STANDARD.decode_slice(password, &mut decoded).ok()?;
    decoded.get(..length)?.try_into().ok()
}

/// The keys that verify passwords. The first one also signs. Never empty.
#[derive(Clone)]
pub struct KeyRing {
    first: Key,
    others: Vec<Key>,
}

impl KeyRing {
    /// Creates a ring; `None` if `keys` is empty.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Option<Self> {
        let mut keys = keys.into_iter();
        Some(Self { first: keys.next()?, others: keys.collect() })
    }

    /// The key that signs new credentials.
    #[must_use]
    pub fn first(&self) -> &Key {
        &self.first
    }

    /// Finds the key that signed this password.
    ///
    /// Tries every key, even after a match, so that the duration does not reveal which key matched.
    #[must_use]
    pub fn find_matching_key(&self, client_id: &str, username: &str, password: &[u8]) -> Option<&Key> {
        let mac = decode_password(password)?;
        let mut found = None;
        for key in std::iter::once(&self.first).chain(&self.others) {
            if key.verify(client_id, username, &mac) {
                found = found.or(Some(key));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> KeyRing {
        KeyRing::new([Key::new(Some("new".into()), b"the new key"), Key::new(Some("old".into()), b"the old key")])
            .unwrap()
    }

    #[test]
    fn signature_matches_openssl() {
        // printf '%s' 'client|user' | openssl dgst -sha256 -hmac key -binary | base64
        assert_eq!(Key::new(None, b"key").sign("client", "user"), "n/pkOxN1HGlCNvRpODVwA54bHZuELuPhfs1zKRroXYw=");
    }

    #[test]
    fn finds_the_key_that_signed_the_password() {
        for (id, secret) in [("new", b"the new key"), ("old", b"the old key")] {
            let password = Key::new(None, secret).sign("c", "u");
            let key =
                ring().find_matching_key("c", "u", password.as_bytes()).and_then(|key| key.id().map(str::to_owned));
            assert_eq!(key.as_deref(), Some(id));
        }
    }

    #[test]
    fn password_is_bound_to_client_id_and_username() {
        let good = ring().first().sign("c", "u");
        let is_good = |client_id, username, password: &str| {
            ring().find_matching_key(client_id, username, password.as_bytes()).is_some()
        };
        assert!(is_good("c", "u", &good));
        assert!(!is_good("d", "u", &good) && !is_good("c", "v", &good));
        assert!(!is_good("c", "u", "") && !is_good("c", "u", &good[..43]));
        assert!(!is_good("c", "u", &format!("{good}=")) && !is_good("c", "u", &good.to_lowercase()));
        assert!(!is_good("c", "u", &format!("{good}{good}")) && !is_good("c", "u", &good[..40]));
    }

    #[test]
    fn rejects_non_canonical_base64_passwords() {
        let good = Key::new(None, b"key").sign("client", "user");
        assert!(decode_password(good.as_bytes()).is_some() && good.ends_with("Yw="));
        // A lenient decoder reads the same 32 bytes from each of these.
        for other in [good.replace("Yw=", "Yx="), good.replace('=', ""), good.replace("Yw=", "Yw"), format!("{good}\n")]
        {
            assert_eq!(decode_password(other.as_bytes()), None, "not canonical");
        }
    }
}
