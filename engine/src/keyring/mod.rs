//! Key rings: keys that the host holds for a policy. A policy names a ring and sees no key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

mod algorithm;
mod key;
mod parse;

use key::Key;

pub use algorithm::Algorithm;

/// Keys under one name. Never printed.
pub struct KeyRing {
    /// To tell whether the keys have changed.
    text: Zeroizing<String>,
    /// `None`: every algorithm but the weak ones.
    algorithms: Option<BTreeSet<Algorithm>>,
    keys: Vec<Key>,
}

/// Why a ring does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRingError {
    /// The operator granted no ring of this name.
    NoSuchRing,
    /// The host does not know the algorithm, or the ring does not allow it.
    AlgorithmNotAllowed,
}

/// A key that verified something: its id, or the empty text for a key without one.
pub type MatchingKey = String;

/// The rings that one policy may use, by their names.
#[derive(Clone, Default)]
pub struct KeyRings(BTreeMap<String, Arc<KeyRing>>);

impl KeyRing {
    /// Parses the keys of a ring.
    ///
    /// # Errors
    /// The problem of the text, without any key.
    pub fn parse(text: Zeroizing<String>, algorithms: Option<BTreeSet<Algorithm>>) -> Result<Self, &'static str> {
        let keys = parse::keys(&text)?;
        Ok(Self { text, algorithms, keys })
    }

    /// Ids of the keys.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.id.as_deref())
    }

    fn algorithm(&self, name: &str) -> Result<Algorithm, KeyRingError> {
        let is_allowed = |algorithm: &Algorithm| match &self.algorithms {
            Some(allowed) => allowed.contains(algorithm),
            None => algorithm.is_default(),
        };
        Algorithm::named(name).filter(is_allowed).ok_or(KeyRingError::AlgorithmNotAllowed)
    }

    /// The first key that verifies, of those with this id or of all. Asks each of them, so that time tells nothing.
    fn find(&self, key_id: Option<&str>, verifies: impl Fn(&Key) -> bool) -> Option<MatchingKey> {
        let mut found = None;
        for key in self.keys.iter().filter(|key| key_id.is_none() || key.id.as_deref() == key_id) {
            if verifies(key) && found.is_none() {
                found = Some(key.id.clone().unwrap_or_default());
            }
        }
        found
    }
}

impl KeyRings {
    /// Adds a ring.
    pub fn insert(&mut self, name: String, ring: KeyRing) {
        self.0.insert(name, Arc::new(ring));
    }

    /// Names of the rings.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ids of the keys of all rings.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.0.values().flat_map(|ring| ring.key_ids())
    }

    fn ring(&self, name: &str) -> Result<&KeyRing, KeyRingError> {
        self.0.get(name).map(AsRef::as_ref).ok_or(KeyRingError::NoSuchRing)
    }

    /// Verifies a message authentication code, by the keys with this id or by all. With `context`, the key is
    /// HMAC-SHA256(key, context). `None`: no key matches.
    ///
    /// # Errors
    /// There is no such ring, or it does not allow the algorithm.
    pub fn verify_mac(
        &self,
        ring: &str,
        key_id: Option<&str>,
        context: Option<&[u8]>,
        algorithm: &str,
        message: &[u8],
        mac: &[u8],
    ) -> Result<Option<MatchingKey>, KeyRingError> {
        let ring = self.ring(ring)?;
        let algorithm = ring.algorithm(algorithm)?;
        Ok(ring.find(key_id, |key| key.verifies_mac(algorithm, context, message, mac)))
    }

    /// Verifies a signature, by the keys with this id or by all. `None`: no key matches.
    ///
    /// # Errors
    /// As [`Self::verify_mac`].
    pub fn verify_signature(
        &self,
        ring: &str,
        key_id: Option<&str>,
        algorithm: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<Option<MatchingKey>, KeyRingError> {
        let ring = self.ring(ring)?;
        let algorithm = ring.algorithm(algorithm)?;
        Ok(ring.find(key_id, |key| key.verifies_signature(algorithm, message, signature)))
    }
}

impl PartialEq for KeyRing {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.algorithms == other.algorithms
    }
}

impl Eq for KeyRing {}

impl PartialEq for KeyRings {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for KeyRings {}

impl fmt::Debug for KeyRings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a key of these tests, 32 bytes..";

    fn rings(text: &str, algorithms: Option<&[Algorithm]>) -> Result<KeyRings, &'static str> {
        let algorithms = algorithms.map(|list| list.iter().copied().collect());
        let mut rings = KeyRings::default();
        rings.insert("r".to_owned(), KeyRing::parse(text.to_owned().into(), algorithms)?);
        Ok(rings)
    }

    /// HMAC-SHA256 of `message` under a key.
    fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
        ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key), message).as_ref().to_vec()
    }

    #[test]
    fn a_mac_is_verified_by_every_key_or_by_the_named_one() {
        let list = format!(
            "[{{\"id\":\"old\",\"key\":\"{KEY}\"}},{{\"id\":\"new\",\"key\":\"{}\",\"encoding\":\"hex\"}}]",
            "0f".repeat(32)
        );
        let rings = rings(&list, None).unwrap();
        let (old, new) = (mac(KEY.as_bytes(), b"m"), mac(&[15; 32], b"m"));
        let verify = |id: Option<&str>, mac: &[u8]| rings.verify_mac("r", id, None, "HS256", b"m", mac).unwrap();
        assert_eq!((verify(None, &old).as_deref(), verify(None, &new).as_deref()), (Some("old"), Some("new")));
        assert_eq!((verify(Some("new"), &new).as_deref(), verify(Some("new"), &old)), (Some("new"), None));
        assert_eq!((verify(Some("other"), &old), verify(None, &old[..31]), verify(None, b"")), (None, None, None));
        assert_eq!(rings.key_ids().collect::<Vec<_>>(), ["old", "new"]);
    }

    #[test]
    fn a_derived_key_is_that_of_its_context() {
        let rings = rings(KEY, None).unwrap();
        let device = mac(KEY.as_bytes(), b"device 1");
        let verify =
            |context: &[u8]| rings.verify_mac("r", None, Some(context), "HS256", b"m", &mac(&device, b"m")).unwrap();
        assert_eq!((verify(b"device 1").as_deref(), verify(b"device 2")), (Some(""), None));
    }

    #[test]
    fn a_ring_allows_what_is_listed_and_nothing_weak_by_default() {
        let verify = |algorithms: Option<&[Algorithm]>, name: &str| {
            rings(KEY, algorithms).unwrap().verify_mac("r", None, None, name, b"m", b"")
        };
        let refused = Err(KeyRingError::AlgorithmNotAllowed);
        for name in ["HS1", "HS2", "none", "", "hs256"] {
            assert_eq!(verify(None, name), refused, "{name}");
        }
        assert_eq!(verify(Some(&[Algorithm::Hs1]), "HS1"), Ok(None));
        assert_eq!(verify(Some(&[Algorithm::Hs1]), "HS256"), refused);
        assert_eq!(
            rings(KEY, None).unwrap().verify_mac("x", None, None, "HS256", b"", b""),
            Err(KeyRingError::NoSuchRing)
        );
    }

    /// A public key must never serve as the secret of a MAC, as in the confusion of JWT algorithms.
    #[test]
    fn a_key_serves_only_its_own_kind() {
        let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let rings = rings(jwk, None).unwrap();
        let message = b"m";
        assert_eq!(rings.verify_mac("r", None, None, "HS256", message, &mac(jwk.as_bytes(), message)), Ok(None));
        assert_eq!(rings.verify_signature("r", None, "HS256", message, &mac(b"", message)), Ok(None));
    }

    /// The example of RFC 8037, appendix A.4.
    #[test]
    fn a_signature_of_a_standard_is_valid() {
        let jwks = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
                       {"kty":"EC","crv":"P-521","x":"","y":""},{"kty":"RSA","use":"enc","n":"","e":""}]}"#;
        let rings = rings(jwks, None).unwrap();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature =
            base64_url("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
        let verify = |id: Option<&str>, algorithm, message: &[u8]| {
            rings.verify_signature("r", id, algorithm, message, &signature)
        };
        assert_eq!(verify(None, "EdDSA", message), Ok(Some("k".to_owned())));
        assert_eq!(verify(Some("k"), "EdDSA", message), Ok(Some("k".to_owned())));
        assert_eq!(verify(Some("other"), "EdDSA", message), Ok(None));
        assert_eq!(verify(None, "EdDSA", b"other"), Ok(None));
        assert_eq!(verify(None, "ES256", message), Ok(None));
    }

    /// The examples of RFC 7515, appendices A.2 and A.3.
    #[test]
    fn rsa_and_ecdsa_of_a_standard_are_valid() {
        let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let rsa = "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\"}";
        let ec = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";
        for (jwk, algorithm, header, signature) in [
            (
                rsa,
                "RS256",
                "eyJhbGciOiJSUzI1NiJ9",
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            ),
            (
                ec,
                "ES256",
                "eyJhbGciOiJFUzI1NiJ9",
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            ),
        ] {
            let (rings, message) = (rings(jwk, None).unwrap(), format!("{header}.{claims}"));
            let verify = |algorithm: &str, message: &str| {
                rings.verify_signature("r", None, algorithm, message.as_bytes(), &base64_url(signature)).unwrap()
            };
            assert_eq!(verify(algorithm, &message).as_deref(), Some(""), "{algorithm}");
            assert_eq!(verify(algorithm, claims), None, "{algorithm}");
            for other in ["RS384", "PS256", "ES384", "EdDSA"] {
                assert_eq!(verify(other, &message), None, "{algorithm} {other}");
            }
        }
    }

    fn base64_url(text: &str) -> Vec<u8> {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn mistakes_are_named_without_the_key() {
        for (text, problem) in [
            ("short", "less than 16 bytes"),
            ("[{\"id\":\"a\"}]", "is not a list of keys"),
            ("[]", "contains no key"),
            ("{}", "is not a JWK"),
            ("{\"keys\":[]}", "contains no key"),
            ("[{\"id\":\"a\",\"key\":\"zz\",\"encoding\":\"hex\"}]", "not hexadecimal"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "contains a private key"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "cannot be parsed"),
            (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, "cannot be parsed"),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#, "cannot be parsed"),
            (r#"{"kty":"RSA","n":"AA","e":"AQAB"}"#, "contains no key"),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}"#, "contains a private key"),
        ] {
            let error = rings(text, None).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        let twice = format!("[{{\"id\":\"a\",\"key\":\"{KEY}\"}},{{\"id\":\"a\",\"key\":\"{KEY}\"}}]");
        assert_eq!(rings(&twice, None).unwrap_err(), "contains two keys with the same id");
    }
}
