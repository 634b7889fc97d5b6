//! Reads the keys of a ring: one secret as text, a JSON list, PEM, a JWK or a JWKS.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use spki::der::asn1::{ObjectIdentifier, UintRef};
use spki::der::{Decode, Reader, SliceReader};
use spki::{SubjectPublicKeyInfoRef, der};
use zeroize::Zeroizing;

use super::Algorithm;
use super::key::{Key, Material, Secret};

/// Shorter secrets can be guessed.
const MIN_SECRET_LEN: usize = 16;

/// Keys of one ring. A login without a key id is tried with each, and no timeout interrupts that.
const MAX_KEYS: usize = 100;

/// Lengths of a modulus that `ring` verifies by: 2048 to 8192 bits.
const RSA_LEN: RangeInclusive<usize> = 256..=1024;

/// RFC 8032, section 5.1.5.
const ED25519_LEN: usize = 32;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

const PRIVATE: &str = "contains a private key; write the public key, which is enough to verify signatures";
const NOT_A_KEY: &str = "contains a key that cannot be parsed";
const NO_KEY: &str = "contains no key that the gate can use (HMAC, RSA of 2048 to 8192 bits, P-256, P-384, Ed25519)";

/// Parses the text of a ring.
///
/// # Errors
/// The problem of the text, without any key.
pub(super) fn keys(text: &str) -> Result<Vec<Key>, &'static str> {
    let keys = match text.trim_start() {
        pem if pem.starts_with("-----BEGIN ") => pem_keys(pem)?,
        json if json.starts_with('[') => listed_keys(json)?,
        json if json.starts_with('{') => jwk_keys(json)?,
        _ => vec![secret(None, text.as_bytes())?],
    };
    let mut ids = BTreeSet::new();
    if !keys.iter().filter_map(|key| key.id.as_deref()).all(|id| ids.insert(id.to_owned())) {
        return Err("contains two keys with the same id");
    }
    match keys.len() {
        0 => Err(NO_KEY),
        1..=MAX_KEYS => Ok(keys),
        _ => Err("contains more than 100 keys"),
    }
}

fn secret(id: Option<String>, bytes: &[u8]) -> Result<Key, &'static str> {
    if bytes.len() < MIN_SECRET_LEN {
        return Err("contains a secret of less than 16 bytes, which can be guessed; `openssl rand -hex 32` makes one");
    }
    Ok(Key { id, algorithm: None, material: Material::Secret(Box::new(Secret::new(bytes))) })
}

/// `[{"id": "2026-11", "key": "…", "encoding": "base64"}]`
fn listed_keys(json: &str) -> Result<Vec<Key>, &'static str> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        id: String,
        key: String,
        #[serde(default)]
        encoding: Encoding,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Encoding {
        #[default]
        Text,
        Base64,
        Hex,
    }
    let problem =
        "is not a list of keys: [{\"id\": \"…\", \"key\": \"…\", \"encoding\": \"text\" | \"base64\" | \"hex\"}]";
    let entries: Vec<Entry> = serde_json::from_str(json).map_err(|_| problem)?;
    let key = |Entry { id, key, encoding }: Entry| {
        let key = Zeroizing::new(key);
        let bytes = Zeroizing::new(match encoding {
            Encoding::Text => key.as_bytes().to_vec(),
            Encoding::Base64 => {
                BASE64_STANDARD.decode(key.as_bytes()).map_err(|_| "contains a key that is not base64")?
            }
            Encoding::Hex => hex(&key).ok_or("contains a key that is not hexadecimal")?,
        });
        secret(Some(id), &bytes)
    };
    entries.into_iter().map(key).collect()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    let (pairs, rest) = text.as_bytes().as_chunks();
    if rest.is_empty() { pairs.iter().map(pair).collect() } else { None }
}

fn pem_keys(text: &str) -> Result<Vec<Key>, &'static str> {
    if text.contains("PRIVATE KEY-----") {
        return Err(PRIVATE);
    }
    let blocks = SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes());
    let key = |block: Result<SubjectPublicKeyInfoDer, _>| {
        let block = block.map_err(|_| "contains a PEM block that cannot be parsed")?;
        let material = spki_material(block.as_ref()).map_err(|_| NOT_A_KEY)?.ok_or(NO_KEY)?;
        Ok(Key { id: None, algorithm: None, material })
    };
    blocks.map(key).collect()
}

/// A key in DER (RFC 5280, section 4.1). `None`: of a kind that is not used.
fn spki_material(der: &[u8]) -> der::Result<Option<Material>> {
    let info = SubjectPublicKeyInfoRef::from_der(der)?;
    let Some(bytes) = info.subject_public_key.as_bytes() else { return Ok(None) };
    let curve = || info.algorithm.parameters_oid().ok();
    Ok(match info.algorithm.oid {
        RSA => {
            // RFC 8017, appendix A.1.1.
            let (modulus, exponent): (UintRef, UintRef) =
                SliceReader::new(bytes)?.sequence(|reader| der::Result::Ok((reader.decode()?, reader.decode()?)))?;
            let is_used = RSA_LEN.contains(&modulus.as_bytes().len());
            is_used.then(|| Material::Rsa(modulus.as_bytes().to_vec(), exponent.as_bytes().to_vec()))
        }
        EC if curve() == Some(P256) => Some(Material::P256(bytes.to_vec())),
        EC if curve() == Some(P384) => Some(Material::P384(bytes.to_vec())),
        ED25519 if bytes.len() == ED25519_LEN => Some(Material::Ed25519(bytes.to_vec())),
        _ => None,
    })
}

/// A JWK or a JWKS (RFC 7517). Keys for other purposes are left out.
fn jwk_keys(json: &str) -> Result<Vec<Key>, &'static str> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Jwks {
        Several { keys: Vec<Jwk> },
        One(Box<Jwk>),
    }
    let jwks = serde_json::from_str(json).map_err(|_| "is not a JWK and not a JWKS")?;
    let keys = match jwks {
        Jwks::Several { keys } => keys,
        Jwks::One(key) => vec![*key],
    };
    keys.into_iter().filter_map(|key| key.into_key().transpose()).collect()
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

impl Jwk {
    fn into_key(self) -> Result<Option<Key>, &'static str> {
        let decode = |text: &Option<String>| {
            let text = text.as_deref().ok_or(NOT_A_KEY)?.trim_end_matches('=');
            BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| NOT_A_KEY)
        };
        if self.r#use.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Ok(None);
        }
        if self.d.is_some() {
            return Err(PRIVATE);
        }
        let algorithm = match self.alg.as_deref().map(Algorithm::named) {
            Some(None) => return Ok(None),
            Some(algorithm) => algorithm,
            None => None,
        };
        let point = |len: usize| {
            let (x, y) = (decode(&self.x)?, decode(&self.y)?);
            if (x.len(), y.len()) == (len, len) { Ok([&[4][..], &x, &y].concat()) } else { Err(NOT_A_KEY) }
        };
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", _) => {
                let text = Zeroizing::new(self.k.ok_or(NOT_A_KEY)?);
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| NOT_A_KEY)?;
                let bytes = Zeroizing::new(bytes);
                secret(None, &bytes)?.material
            }
            ("RSA", _) => {
                let modulus = decode(&self.n)?;
                if !RSA_LEN.contains(&modulus.len()) {
                    return Ok(None);
                }
                Material::Rsa(modulus, decode(&self.e)?)
            }
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => match decode(&self.x)? {
                key if key.len() == ED25519_LEN => Material::Ed25519(key),
                _ => return Err(NOT_A_KEY),
            },
            _ => return Ok(None),
        };
        Ok(Some(Key { id: self.kid, algorithm, material }))
    }
}
