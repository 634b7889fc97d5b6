//! Secrets that brokers and operators present, compared in constant time.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use auth_core::settings::weak_keys::{mistake, weakness};
use mqtt_gate_engine::SecretSource;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::CredentialError;
use super::reloadable::Loader;

/// Shorter secrets can be guessed. Longer ones do not fit into the header of a request.
const SECRET_LENGTH: RangeInclusive<usize> = 16..=1024;

/// Loads a secret from the configuration or from a file.
pub(crate) struct SecretLoader(pub(crate) SecretSource);

/// Secrets that are valid at the same time, so that one can be rotated. Never printed.
pub(crate) struct Secrets(Vec<Zeroizing<String>>);

/// Checks the secret of a request. Accepts every request if no secret is configured.
#[derive(Clone, Default)]
pub(crate) struct SecretVerifier(Option<Arc<ArcSwap<Secrets>>>);

/// Why a request is not authorized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthError {
    /// The request has no secret.
    Missing,
    /// The secret of the request is wrong.
    Invalid,
}

impl Loader for SecretLoader {
    type Value = Secrets;

    fn files(&self) -> Vec<PathBuf> {
        self.0.file().map(ToOwned::to_owned).into_iter().collect()
    }

    fn load(&self, files: &[Zeroizing<Vec<u8>>]) -> Result<Secrets, CredentialError> {
        let text = match files.first() {
            Some(contents) => str::from_utf8(contents).map_err(|_| CredentialError::Secret("is not UTF-8"))?,
            None => self.0.value().ok_or(CredentialError::Secret("refers to a variable that is not set"))?,
        };
        Secrets::parse(text)
    }
}

impl Secrets {
    /// Parses secrets that are separated by white space.
    fn parse(text: &str) -> Result<Self, CredentialError> {
        let secrets: Vec<_> = text.split_ascii_whitespace().map(|one| Zeroizing::new(one.to_owned())).collect();
        let is_valid = |one: &Zeroizing<String>| {
            SECRET_LENGTH.contains(&one.len()) && one.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if secrets.is_empty() {
            return Err(CredentialError::Secret("is empty; `openssl rand -hex 32` generates one"));
        }
        if !secrets.iter().all(is_valid) {
            return Err(CredentialError::Secret(
                "must be 16 to 1024 printable ASCII characters; `openssl rand -hex 32` generates one",
            ));
        }
        let problem = |one: &Zeroizing<String>| mistake(one).or_else(|| weakness(one));
        match secrets.iter().find_map(problem) {
            Some(problem) => Err(CredentialError::WeakSecret(problem)),
            None => Ok(Self(secrets)),
        }
    }

    /// Whether `presented` is one of the secrets. Its duration depends on nothing but lengths.
    fn contains(&self, presented: &[u8]) -> bool {
        let is_equal = |one: &Zeroizing<String>| one.as_bytes().ct_eq(presented);
        self.0.iter().fold(Choice::from(0), |found, one| found | is_equal(one)).into()
    }
}

impl SecretVerifier {
    pub(crate) fn new(secrets: Option<Arc<ArcSwap<Secrets>>>) -> Self {
        Self(secrets)
    }

    /// Whether both verify the same secret.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.as_ref().map(Arc::as_ptr) == other.0.as_ref().map(Arc::as_ptr)
    }

    /// Whether a secret is configured.
    pub(crate) fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Checks the secrets that a request presents. One of them has to be valid: a proxy may add another.
    ///
    /// # Errors
    /// A secret is configured and the request does not present it.
    pub(crate) fn verify<T: AsRef<[u8]>, I: IntoIterator<Item = T>>(
        &self,
        presented: impl FnOnce() -> I,
    ) -> Result<(), AuthError> {
        let Some(secrets) = &self.0 else { return Ok(()) };
        let secrets = secrets.load();
        let mut error = AuthError::Missing;
        for presented in presented() {
            if secrets.contains(presented.as_ref()) {
                return Ok(());
            }
            error = AuthError::Invalid;
        }
        Err(error)
    }
}

#[cfg(test)]
impl SecretVerifier {
    /// A verifier of this secret, for tests.
    pub(crate) fn of(text: &str) -> Self {
        Self(Some(Arc::new(ArcSwap::from_pointee(Secrets::parse(text).unwrap()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_several_secrets_is_valid_and_nothing_else() {
        let verifier = SecretVerifier::of("0123456789abcdef\nfedcba9876543210\n");
        for valid in ["0123456789abcdef", "fedcba9876543210"] {
            assert_eq!(verifier.verify(|| ["x", valid]), Ok(()));
        }
        for invalid in
            ["", "0123456789abcde", "0123456789abcdef ", "0123456789abcdeF", "0123456789abcdef\nfedcba9876543210"]
        {
            assert_eq!(verifier.verify(|| [invalid]), Err(AuthError::Invalid), "{invalid}");
        }
        assert_eq!(verifier.verify(|| [""; 0]), Err(AuthError::Missing));
        assert!(verifier.is_enabled());
    }

    #[test]
    fn without_a_secret_every_request_is_authorized() {
        let verifier = SecretVerifier::default();
        assert_eq!((verifier.verify(|| [""; 0]), verifier.verify(|| ["x"])), (Ok(()), Ok(())));
        assert!(!verifier.is_enabled());
    }

    #[test]
    fn secrets_are_separated_by_white_space() {
        for (text, count) in [
            ("0123456789abcdef", 1),
            ("\n 0123456789abcdef \r\n", 1),
            ("0123456789abcdef\tfedcba9876543210", 2),
            (&"0123456789abcdef+/-=Zz9".repeat(44), 1),
        ] {
            assert_eq!(Secrets::parse(text).ok().map(|secrets| secrets.0.len()), Some(count), "{text:?}");
        }
    }

    #[test]
    fn secrets_that_can_be_guessed_or_not_be_sent_are_rejected_and_not_shown() {
        let too_long = "s3cret".repeat(200);
        for text in ["", " \n", "s3cret", "s3cret-s3cret-ü-s3cret", "0123456789abcdef s3cret", &too_long] {
            let error = Secrets::parse(text).err().unwrap().to_string();
            assert!(error.contains("openssl rand") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_secret_comes_from_a_file_or_a_value_and_is_text() {
        let loader = SecretLoader(SecretSource::from_file("/unused".into()));
        assert!(loader.load(&[Zeroizing::new(b"0123456789abcdef".to_vec())]).is_ok());
        assert!(loader.load(&[Zeroizing::new(vec![0xff; 16])]).is_err());
        assert!(SecretLoader(SecretSource::inline("0123456789abcdef".to_owned())).load(&[]).is_ok());
    }
}
