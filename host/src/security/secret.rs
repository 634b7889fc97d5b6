//! Who may ask: secrets that a broker or the operator has to know.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::security::reloadable::{Contents, Recipe, Unread};
use mqtt_gate_engine::settings::SecretSource;

/// The fewest and the most bytes of a secret.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=1024;

/// Why there is no secret to ask for. Never tells what it is.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file that it is in cannot be read.
    #[error("{name}")]
    Unread {
        /// The name of the value in the configuration.
        name: &'static str,
        /// The file.
        source: Unread,
    },
    /// It cannot be one.
    #[error("{name} {problem}")]
    Unfit {
        /// The name of the value in the configuration.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// One secret of the configuration, which is read anew when its file changes.
pub(crate) struct Secret {
    pub(crate) name: &'static str,
    pub(crate) source: SecretSource,
}

/// What is taken for the secret: one, or several while it is being changed. Never printed.
pub(crate) struct Secrets(Vec<Zeroizing<String>>);

/// Knows whether somebody has the secret. Without one, everybody may ask.
#[derive(Clone, Default)]
pub(crate) struct Guard(Option<Arc<ArcSwap<Secrets>>>);

/// Why somebody may not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// It shows nothing.
    Silent,
    /// What it shows is not the secret.
    Wrong,
}

impl Recipe for Secret {
    type Product = Secrets;
    type Error = AccessError;

    fn name(&self) -> &'static str {
        self.name
    }

    fn files(&self) -> Vec<PathBuf> {
        self.source.file().map(ToOwned::to_owned).into_iter().collect()
    }

    fn unread(&self, source: Unread) -> AccessError {
        AccessError::Unread { name: self.name, source }
    }

    fn make(&self, contents: &[Contents]) -> Result<Secrets, AccessError> {
        let unfit = |problem| AccessError::Unfit { name: self.name, problem };
        let text = match (contents.first(), self.source.literal()) {
            (Some(contents), _) => str::from_utf8(contents).map_err(|_| unfit("is not text"))?,
            (None, literal) => literal.ok_or_else(|| unfit("refers to a variable that is not set"))?,
        };
        let secrets: Vec<_> = text.split_ascii_whitespace().map(|one| Zeroizing::new(one.to_owned())).collect();
        if secrets.is_empty() {
            return Err(unfit("is empty; `openssl rand -hex 32` makes a good one"));
        }
        if !secrets.iter().all(|one| LENGTHS.contains(&one.len()) && one.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(unfit(
                "must be 16 to 1024 letters, digits and signs of ASCII; `openssl rand -hex 32` makes a good one",
            ));
        }
        Ok(Secrets(secrets))
    }
}

impl Secrets {
    /// In a time that tells nothing but the lengths.
    fn contain(&self, shown: &[u8]) -> bool {
        let is_one = |one: &Zeroizing<String>| one.as_bytes().ct_eq(shown);
        self.0.iter().fold(Choice::from(0), |found, one| found | is_one(one)).into()
    }
}

impl Guard {
    pub(crate) fn new(secrets: Option<Arc<ArcSwap<Secrets>>>) -> Self {
        Self(secrets)
    }

    /// Whether anybody is turned away at all.
    pub(crate) fn is_on_duty(&self) -> bool {
        self.0.is_some()
    }

    /// Whether who shows this may ask.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check(&self, shown: Option<&[u8]>) -> Result<(), Stranger> {
        let Some(secrets) = &self.0 else { return Ok(()) };
        match shown {
            None => Err(Stranger::Silent),
            Some(shown) if secrets.load().contain(shown) => Ok(()),
            Some(_) => Err(Stranger::Wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(text: &str) -> Result<Secrets, String> {
        let secret = Secret { name: "access.x", source: SecretSource::literally(text.to_owned()) };
        secret.make(&[]).map_err(|error| error.to_string())
    }

    #[test]
    fn any_of_several_is_good_and_nothing_else() {
        let guard =
            Guard::new(Some(Arc::new(ArcSwap::from_pointee(secrets("0123456789abcdef\nfedcba9876543210\n").unwrap()))));
        for good in ["0123456789abcdef", "fedcba9876543210"] {
            assert_eq!(guard.check(Some(good.as_bytes())), Ok(()));
        }
        for bad in
            ["", "0123456789abcde", "0123456789abcdef ", "0123456789abcdeF", "0123456789abcdef\nfedcba9876543210"]
        {
            assert_eq!(guard.check(Some(bad.as_bytes())), Err(Stranger::Wrong), "{bad}");
        }
        assert_eq!(guard.check(None), Err(Stranger::Silent));
        assert_eq!(Guard::default().check(None), Ok(()));
    }

    #[test]
    fn what_cannot_be_sent_or_can_be_guessed_is_no_secret_and_is_not_shown() {
        for bad in ["", " \n", "s3cret", "s3cret-s3cret-ü-s3cret", "0123456789abcdef s3cret"] {
            let error = secrets(bad).err().unwrap();
            assert!(error.starts_with("access.x ") && !error.contains("s3cret"), "{error}");
        }
    }
}
