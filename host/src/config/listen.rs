//! `listen`: the addresses for brokers.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::{ConfigError, invalid};

/// More addresses than a machine has for one program.
const MAX_ADDRESSES: usize = 16;

/// One or more addresses to listen on. On Linux, `[::]:8003` takes connections of IPv4 too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddresses(Vec<SocketAddr>);

/// A text that is not an address to listen on.
#[derive(Debug, thiserror::Error)]
#[error("not an IP address with a port, such as 0.0.0.0:8003, 127.0.0.1:8003 or [::]:8003; names are not resolved")]
pub struct InvalidAddress;

impl ListenAddresses {
    /// The addresses, at least one.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().copied()
    }

    /// Whether IPv4 has a socket of its own on this port, so that the IPv6 socket must not take it.
    pub(crate) fn has_ipv4(&self, port: u16) -> bool {
        self.iter().any(|address| address.is_ipv4() && address.port() == port)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_duplicate = |(index, address): (usize, &SocketAddr)| {
            address.port() != 0 && self.0.iter().take(index).any(|other| other == address)
        };
        if self.0.is_empty() || self.0.len() > MAX_ADDRESSES {
            return Err(invalid("listen", format!("must be an address, or a list of 1 to {MAX_ADDRESSES}")));
        }
        if self.0.iter().enumerate().any(is_duplicate) {
            return Err(invalid("listen", "an address is in the list twice; remove one"));
        }
        Ok(())
    }
}

impl<T: Into<SocketAddr>> From<T> for ListenAddresses {
    fn from(address: T) -> Self {
        Self(vec![address.into()])
    }
}

impl FromIterator<SocketAddr> for ListenAddresses {
    fn from_iter<I: IntoIterator<Item = SocketAddr>>(addresses: I) -> Self {
        Self(addresses.into_iter().collect())
    }
}

impl fmt::Display for ListenAddresses {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let texts: Vec<_> = self.iter().map(|address| address.to_string()).collect();
        f.write_str(&texts.join(", "))
    }
}

/// Parses an address, for the configuration and for the command line.
///
/// # Errors
/// It is not an IP address with a port.
pub fn parse_address(text: &str) -> Result<SocketAddr, InvalidAddress> {
    SocketAddr::from_str(text).map_err(|_| InvalidAddress)
}

/// Parses an address in the configuration.
pub(super) fn deserialize_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse_address(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

impl<'de> Deserialize<'de> for ListenAddresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            One(String),
            List(Vec<String>),
        }
        let texts = match Written::deserialize(deserializer) {
            Ok(Written::One(text)) => vec![text],
            Ok(Written::List(texts)) => texts,
            Err(_) => return Err(D::Error::custom(InvalidAddress)),
        };
        texts.iter().map(|text| parse_address(text)).collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}
