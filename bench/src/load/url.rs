//! Where a server that somebody else has started is asked.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use anyhow::{Context, Result};

/// Where a server is asked: an address, and what follows it.
#[derive(Clone)]
pub(crate) struct Url {
    pub(crate) address: SocketAddr,
    pub(crate) target: String,
}

impl FromStr for Url {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let rest = text.strip_prefix("http://").context("begin it with http://")?;
        let (address, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address =
            address.to_socket_addrs().context("give it as http://HOST:PORT/PATH")?.next().context("no such host")?;
        Ok(Self { address, target: if target.is_empty() { "/" } else { target }.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_address_and_what_follows_it() {
        let url: Url = "http://127.0.0.1:8003/mqtt/auth".parse().unwrap();
        assert_eq!((url.address.to_string().as_str(), url.target.as_str()), ("127.0.0.1:8003", "/mqtt/auth"));
        assert_eq!("http://127.0.0.1:1".parse::<Url>().unwrap().target, "/");
        for bad in ["127.0.0.1:8003/mqtt/auth", "https://127.0.0.1:8003/", "http:///mqtt/auth", "http://127.0.0.1/"] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }
}
