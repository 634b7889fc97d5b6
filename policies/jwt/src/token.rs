//! The parts of a token (RFC 7515, section 3.1).

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// A password with the form of a token. Nothing of it was verified.
pub(crate) struct Token<'a> {
    /// Header and claims, as they were signed.
    pub(crate) signed: &'a str,
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
}

/// The header, and the signature by it.
pub(crate) struct Header {
    pub(crate) alg: String,
    pub(crate) kid: Option<String>,
    pub(crate) signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// The parts of a password. `None`: it is no token.
    pub(crate) fn split(password: &'a [u8]) -> Option<Self> {
        let password = str::from_utf8(password).ok()?;
        let (signed, signature) = password.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        // Every token begins with the base64 of `{"`.
        let is_token = header.starts_with("eyJ") && claims.starts_with("eyJ") && !claims.contains('.');
        is_token.then_some(Self { signed, header, claims, signature })
    }

    /// Decodes header and signature. `None`: one of them is malformed, or the token needs an extension.
    pub(crate) fn header(&self) -> Option<Header> {
        #[derive(Deserialize)]
        struct Fields {
            alg: String,
            kid: Option<String>,
            crit: Option<IgnoredAny>,
        }
        let Fields { alg, kid, crit } = decode(self.header)?;
        // A verifier must refuse what it does not understand (RFC 7515, section 4.1.11).
        if crit.is_some() {
            return None;
        }
        Some(Header { alg, kid, signature: BASE64_URL_SAFE_NO_PAD.decode(self.signature).ok()? })
    }

    /// Decodes the claims. `None`: they are malformed.
    pub(crate) fn claims<T: DeserializeOwned>(&self) -> Option<T> {
        decode(self.claims)
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(json: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(json)
    }

    #[test]
    fn a_token_has_three_parts() {
        let claims = part("{\"a\":1}");
        for password in ["", "a.b.c", "eyJ.eyJ", &format!("x.{claims}.s"), &format!("{0}.{0}.{0}.s", claims)] {
            assert!(Token::split(password.as_bytes()).is_none(), "{password}");
        }
        assert!(Token::split(&[0xff, b'.', b'.']).is_none());
    }

    #[test]
    fn a_header_that_needs_an_extension_is_refused() {
        let header = |json: &str| {
            let password = format!("{}.{}.AAAA", part(json), part("{\"a\":1}"));
            Token::split(password.as_bytes()).unwrap().header().map(|header| (header.alg, header.kid))
        };
        assert_eq!(header(r#"{"alg":"ES256","kid":"k"}"#), Some(("ES256".to_owned(), Some("k".to_owned()))));
        assert_eq!(header(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#), None);
        assert_eq!(header(r#"{"kid":"k"}"#), None);
    }
}
