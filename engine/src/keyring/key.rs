//! One key of a ring.

use ring::hmac;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};

use super::Algorithm;

/// A key. Its bytes leave this file in no form.
pub(super) struct Key {
    pub(super) id: Option<String>,
    /// The only algorithm that the key is for. `None`: any that fits it.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) material: Material,
}

/// The bytes of a key, ready for use.
pub(super) enum Material {
    Secret(Box<Secret>),
    /// Modulus and exponent, big-endian.
    Rsa(Vec<u8>, Vec<u8>),
    /// An uncompressed point.
    P256(Vec<u8>),
    /// An uncompressed point.
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A secret key, prepared for every hash.
pub(super) struct Secret {
    hs1: hmac::Key,
    hs256: hmac::Key,
    hs384: hmac::Key,
    hs512: hmac::Key,
}

impl Secret {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self {
            hs1: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, bytes),
            hs256: hmac::Key::new(hmac::HMAC_SHA256, bytes),
            hs384: hmac::Key::new(hmac::HMAC_SHA384, bytes),
            hs512: hmac::Key::new(hmac::HMAC_SHA512, bytes),
        }
    }

    /// The key for this algorithm. `None`: it is no MAC.
    fn key(&self, algorithm: Algorithm) -> Option<&hmac::Key> {
        match algorithm {
            Algorithm::Hs1 => Some(&self.hs1),
            Algorithm::Hs256 => Some(&self.hs256),
            Algorithm::Hs384 => Some(&self.hs384),
            Algorithm::Hs512 => Some(&self.hs512),
            _ => None,
        }
    }

    /// Whether `mac` is that of the message. Compares in constant time.
    fn verifies(&self, algorithm: Algorithm, message: &[u8], mac: &[u8]) -> bool {
        self.key(algorithm).is_some_and(|key| hmac::verify(key, message, mac).is_ok())
    }

    /// The key of one device: HMAC-SHA256 of its context.
    fn derive(&self, context: &[u8]) -> Self {
        Self::new(hmac::sign(&self.hs256, context).as_ref())
    }
}

impl Key {
    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether `mac` is that of the message under this key, or under the one that is derived for `context`.
    pub(super) fn verifies_mac(
        &self,
        algorithm: Algorithm,
        context: Option<&[u8]>,
        message: &[u8],
        mac: &[u8],
    ) -> bool {
        let Material::Secret(secret) = &self.material else { return false };
        self.is_for(algorithm)
            && match context {
                Some(context) => secret.derive(context).verifies(algorithm, message, mac),
                None => secret.verifies(algorithm, message, mac),
            }
    }

    /// Whether this is a signature of the message. ECDSA signatures have the fixed length of JOSE.
    pub(super) fn verifies_signature(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let rsa = |modulus: &Vec<u8>, exponent: &Vec<u8>, parameters| {
            RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature).is_ok()
        };
        let ec =
            |point: &Vec<u8>, parameters| UnparsedPublicKey::new(parameters, point).verify(message, signature).is_ok();
        let is_valid = match (&self.material, algorithm) {
            (Material::Rsa(n, e), Algorithm::Rs256) => rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA256),
            (Material::Rsa(n, e), Algorithm::Rs384) => rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA384),
            (Material::Rsa(n, e), Algorithm::Rs512) => rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA512),
            (Material::Rsa(n, e), Algorithm::Ps256) => rsa(n, e, &signature::RSA_PSS_2048_8192_SHA256),
            (Material::P256(point), Algorithm::Es256) => ec(point, &signature::ECDSA_P256_SHA256_FIXED),
            (Material::P384(point), Algorithm::Es384) => ec(point, &signature::ECDSA_P384_SHA384_FIXED),
            (Material::Ed25519(key), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature).is_ok()
            }
            _ => false,
        };
        is_valid && self.is_for(algorithm)
    }
}
