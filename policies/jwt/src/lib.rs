//! A policy for JSON Web Tokens (RFC 7519): verifies them by the key ring `jwt`, and grants what their claims say.
//!
//! The password is the token. A password that is no token is left to the next policy.
//!
//! | setting | default | meaning |
//! | --- | --- | --- |
//! | `client-id-claim` | `sub` | the claim that must be the client id; empty: none |
//! | `audience` | none | a value that `aud` must have |
//! | `issuer` | none | the value that `iss` must have |
//! | `leeway-seconds` | `30` | how far clocks may differ |
//!
//! A token must have `exp`, and `expires_at` of the grant is that time. `acl` grants topics, in both formats of EMQX, with
//! `${clientid}` and, from the token, `${username}`.
//! `client_attrs` are attributes for the broker. `is_superuser` grants every topic.

use bindings::exports::mqtt_gate::auth::authenticator::{Credentials, Denial, Grant, Guest, Reason, Verdict};
use bindings::exports::mqtt_gate::auth::metadata;
use bindings::mqtt_gate::auth::keyring;
use bindings::wasi::{clocks::wall_clock, config::store};
use claims::Claims;
use settings::Settings;
use token::Token;

mod claims;
mod settings;
mod token;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "keyring-policy", generate_all });
}

/// The key ring that the operator grants.
const RING: &str = "jwt";

/// The policy as a component.
pub struct Jwt;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated from wit/")]
mod exports {
    use super::{Jwt, bindings};

    bindings::export!(Jwt with_types_in bindings);
}

/// Why a token is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    MalformedToken,
    AlgorithmNotAllowed,
    BadSignature,
    MalformedClaims,
    NoExpiry,
    Expired,
    NotYetValid,
    WrongClientId,
    WrongAudience,
    WrongIssuer,
}

impl Guest for Jwt {
    fn check() -> Result<(), String> {
        let settings = read_settings().map(drop);
        match keyring::verify_mac(RING, None, "", &[], &[]) {
            Err(keyring::Error::NoSuchRing) => Err(format!("grant a key ring named {RING} in [policy.keyrings]")),
            _ => settings,
        }
    }

    fn authenticate(credentials: Credentials) -> Result<Verdict, String> {
        let Some(token) = credentials.password.as_deref().and_then(Token::split) else { return Ok(Verdict::Ignore) };
        let settings = read_settings()?;
        Ok(match verify(&token, &credentials, &settings)? {
            Ok(grant) => Verdict::Allow(grant),
            Err(refusal) => {
                Verdict::Deny(Denial { reason: refusal.reason(), detail: Some(refusal.detail().to_owned()) })
            }
        })
    }
}

/// Verifies the signature first: nothing that a stranger wrote is looked at before.
fn verify(token: &Token, credentials: &Credentials, settings: &Settings) -> Result<Result<Grant, Refusal>, String> {
    let Some(header) = token.header() else { return Ok(Err(Refusal::MalformedToken)) };
    let (message, key_id) = (token.signed.as_bytes(), header.kid.as_deref());
    let verified = if header.alg.starts_with("HS") {
        keyring::verify_mac(RING, key_id, &header.alg, message, &header.signature)
    } else {
        keyring::verify_signature(RING, key_id, &header.alg, message, &header.signature)
    };
    let key_id = match verified {
        Ok(Some(key_id)) => Some(key_id).filter(|id| !id.is_empty()),
        Ok(None) => return Ok(Err(Refusal::BadSignature)),
        Err(keyring::Error::AlgorithmNotAllowed) => return Ok(Err(Refusal::AlgorithmNotAllowed)),
        Err(keyring::Error::NoSuchRing) => return Err(format!("there is no key ring named {RING}")),
        Err(keyring::Error::Unavailable) => return Err(format!("the key ring {RING} is not available")),
    };
    let Some(claims) = token.claims::<Claims>() else { return Ok(Err(Refusal::MalformedClaims)) };
    let now = wall_clock::now().seconds;
    Ok(claims.check(&credentials.client_id, settings, now).and_then(|expires_at| {
        let access = claims.access(&credentials.client_id);
        Ok(Grant {
            access: access.ok_or(Refusal::MalformedClaims)?,
            expires_at: Some(expires_at),
            key_id,
            attributes: claims.client_attrs.into_iter().collect(),
            extensions: Vec::new(),
        })
    }))
}

fn read_settings() -> Result<Settings, String> {
    Settings::read(|name| {
        store::get(name).map_err(|_| format!("{name}: the host failed to read this setting; see the log of the host"))
    })
}

impl Refusal {
    const ALL: [Self; 10] = [
        Self::MalformedToken,
        Self::AlgorithmNotAllowed,
        Self::BadSignature,
        Self::MalformedClaims,
        Self::NoExpiry,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongClientId,
        Self::WrongAudience,
        Self::WrongIssuer,
    ];

    fn reason(self) -> Reason {
        match self {
            Self::WrongClientId => Reason::ClientIdentifierNotValid,
            Self::WrongAudience | Self::WrongIssuer => Reason::NotAuthorized,
            _ => Reason::BadUserNameOrPassword,
        }
    }

    fn detail(self) -> &'static str {
        self.texts().0
    }

    /// The code, and what it means.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::MalformedToken => ("malformed-token", "The password has the form of a token, and is none."),
            Self::AlgorithmNotAllowed => ("algorithm-not-allowed", "The key ring does not allow the algorithm."),
            Self::BadSignature => ("bad-signature", "No key of the ring verifies the token."),
            Self::MalformedClaims => ("malformed-claims", "The claims of the token cannot be read."),
            Self::NoExpiry => ("no-expiry", "The token has no claim exp."),
            Self::Expired => ("expired", "The token has expired."),
            Self::NotYetValid => ("not-yet-valid", "The token is not valid yet."),
            Self::WrongClientId => ("wrong-client-id", "The token is for another client id."),
            Self::WrongAudience => ("wrong-audience", "The token is for another audience."),
            Self::WrongIssuer => ("wrong-issuer", "Another issuer made the token."),
        }
    }
}

impl metadata::Guest for Jwt {
    fn describe() -> metadata::Description {
        let setting = |name: &str, kind, default: Option<&str>, summary: &str| metadata::Setting {
            name: name.to_owned(),
            kind,
            required: false,
            default: default.map(str::to_owned),
            summary: summary.to_owned(),
        };
        let detail = |refusal: Refusal| {
            let (code, summary) = refusal.texts();
            metadata::Detail { code: code.to_owned(), summary: summary.to_owned() }
        };
        metadata::Description {
            name: "jwt".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Verifies JSON Web Tokens in the password by a key ring.".to_owned(),
            settings: vec![
                setting(
                    "client-id-claim",
                    metadata::Kind::Text,
                    Some("sub"),
                    "Claim that must be the client id; empty: none.",
                ),
                setting("audience", metadata::Kind::Text, None, "Value that `aud` must have."),
                setting("issuer", metadata::Kind::Text, None, "Value that `iss` must have."),
                setting("leeway-seconds", metadata::Kind::Number, Some("30"), "How far clocks may differ."),
            ],
            keyrings: vec![metadata::GrantRequest {
                name: RING.to_owned(),
                required: true,
                summary: "Keys that sign tokens: JWKS, PEM or secrets.".to_owned(),
            }],
            tables: Vec::new(),
            details: Refusal::ALL.into_iter().map(detail).collect(),
        }
    }
}
