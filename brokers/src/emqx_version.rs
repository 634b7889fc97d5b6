//! Versions of EMQX, which differ in how they read a reply.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};

/// A version of EMQX, such as `5.8` or `6.2.2`. Parts that are not written are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EmqxVersion {
    major: u16,
    minor: u16,
    patch: u16,
}

impl EmqxVersion {
    /// The oldest version whose reading of a grant was measured. Older ones apply neither its topics nor its end.
    pub const MIN: Self = Self { major: 5, minor: 8, patch: 0 };

    /// The first version that applies `clientid_override`.
    pub(crate) const CLIENTID_OVERRIDE: Self = Self { major: 6, minor: 0, patch: 0 };

    /// The first version that applies `zone_override`.
    pub(crate) const ZONE_OVERRIDE: Self = Self { major: 6, minor: 1, patch: 0 };

    /// The first version with the hardened security profile, under which a status 503 is final.
    pub const HARDENED: Self = Self { major: 6, minor: 2, patch: 2 };
}

/// A text that is not a version of EMQX.
#[derive(Debug, thiserror::Error)]
#[error("not a version of EMQX such as 5.8 or 6.2.2")]
pub struct InvalidEmqxVersion;

impl FromStr for EmqxVersion {
    type Err = InvalidEmqxVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.').map(|part| part.parse::<u16>().map_err(|_| InvalidEmqxVersion));
        let mut next = || parts.next().unwrap_or(Ok(0));
        let version = Self { major: next()?, minor: next()?, patch: next()? };
        if parts.next().is_some() || text.is_empty() { Err(InvalidEmqxVersion) } else { Ok(version) }
    }
}

impl fmt::Display for EmqxVersion {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl<'de> Deserialize<'de> for EmqxVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text is not repeated: it may be a secret in the wrong place. A number would make 5.10 the version 5.1.
        let text = String::deserialize(deserializer)
            .map_err(|_| D::Error::custom("write the version as text, such as \"5.8\""))?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_one_to_three_parts_and_an_order() {
        let version = |text: &str| text.parse::<EmqxVersion>().ok();
        for (text, shown) in [("5.8.9", Some("5.8.9")), ("6.2", Some("6.2.0")), ("6", Some("6.0.0"))] {
            assert_eq!(version(text).map(|version| version.to_string()).as_deref(), shown);
        }
        for text in ["", "v5.8", "5.8.9.1", "5.x", "-5", "5..8", " 5"] {
            assert_eq!(version(text), None, "{text}");
        }
        assert!(version("5.8") < version("5.10") && version("5.10.3") < version("6"));
        assert!(version("5.8.0") == Some(EmqxVersion::MIN) && version("6.2.1") < Some(EmqxVersion::HARDENED));
    }
}
