//! Names that the operator gives to policies and tenants.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Maximum length of a name, as of a label in the DNS.
const MAX_LEN: usize = 63;

/// A name that the operator gave to a policy or a tenant: 1 to 63 letters, digits, `-` and `_`, a letter or digit first.
///
/// It is copied with each decision, so it refers to text that is kept for the life of the process. That text is bounded
/// by the names that the operator has ever configured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(&'static str);

impl Name {
    /// The name with this text; `None` if it is not a valid name.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let is_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_name = (1..=MAX_LEN).contains(&text.len())
            && text.bytes().all(is_char)
            && text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !is_name {
            return None;
        }
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Self(names.get(text).copied().unwrap_or_else(|| {
            let kept: &'static str = Box::leak(text.into());
            names.insert(kept);
            kept
        })))
    }

    /// Stands for the name of a policy where there is none.
    #[must_use]
    pub const fn none() -> Self {
        Self("(none)")
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["a", "revoked", "Acme_2-eu", "0", &"x".repeat(63)] {
            assert_eq!(Name::new(name).map(Name::as_str), Some(name));
        }
        for other in ["", "-a", "_", "a.b", "a/b", "a b", "ä", "a\n", &"x".repeat(64)] {
            assert_eq!(Name::new(other), None, "{other:?}");
        }
    }

    #[test]
    fn equal_names_share_their_text() {
        let text = |name| Name::new(name).unwrap().as_str().as_ptr();
        assert_eq!(text("shared"), text(&["sha", "red"].concat()));
    }
}
