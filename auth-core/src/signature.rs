//! The signature that makes a credential genuine.

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The signature itself, before it is written as base64.
type Mac = [u8; 32];

/// One key, made ready to sign.
///
/// The key itself is not kept: only the two SHA-256 states that begin every HMAC under it, so that a login does not
/// pay for them again. It is never printed.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    start: Hmac<Sha256>,
}

impl Key {
    /// Makes a key ready. `id` is the operator's name for it, if it has one; `secret` is used as it stands, untrimmed.
    #[must_use]
    pub fn new(id: Option<String>, secret: &[u8]) -> Self {
        // HMAC takes a key of any length; the error is there for other algorithms.
        #[expect(clippy::expect_used, reason = "no length of key is refused")]
        let start = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
        Self { id, start }
    }

    /// The operator's name for the key.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The password of this client id and user name, as the text that a device sends.
    #[must_use]
    pub fn sign(&self, client_id: &str, username: &str) -> String {
        BASE64_STANDARD.encode(self.mac(client_id, username))
    }

    fn mac(&self, client_id: &str, username: &str) -> Mac {
        let mut mac = self.start.clone();
        mac.update(client_id.as_bytes());
        mac.update(b"|");
        mac.update(username.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Whether this is the signature that the key gives. Takes as long wherever the two differ.
    fn verify(&self, client_id: &str, username: &str, mac: &Mac) -> bool {
        to_words(&self.mac(client_id, username)).ct_eq(&to_words(mac)).into()
    }
}

/// In the largest pieces that are compared in constant time at once.
fn to_words(mac: &Mac) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(mac.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// The signature that a password is the text of. There is one text for each: other spellings in base64 are none.
fn decode_password(password: &[u8]) -> Option<Mac> {
    // A byte more than there is to be: the decoder may look for room before it counts.
    let mut decoded = [0; 33];
    let length = BASE64_STANDARD.decode_slice(password, &mut decoded).ok()?;
    decoded.get(..length)?.try_into().ok()
}

/// The keys that are in use, the one to sign with first. Never empty.
#[derive(Clone)]
pub struct KeyRing {
    first: Key,
    others: Vec<Key>,
}

impl KeyRing {
    /// A ring of these keys; `None` if there are none.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Option<Self> {
        let mut keys = keys.into_iter();
        Some(Self { first: keys.next()?, others: keys.collect() })
    }

    /// The key to sign new credentials with.
    #[must_use]
    pub fn first(&self) -> &Key {
        &self.first
    }

    /// The key under which this password is good, if there is one.
    ///
    /// Every key is tried, also after one has matched: the time taken says nothing about which.
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
        // The same 32 bytes, to a decoder that does not look closely.
        for other in [good.replace("Yw=", "Yx="), good.replace('=', ""), good.replace("Yw=", "Yw"), format!("{good}\n")]
        {
            assert_eq!(decode_password(other.as_bytes()), None, "another spelling");
        }
    }
}
