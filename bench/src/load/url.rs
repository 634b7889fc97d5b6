//! The URL of a server that the operator has started.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use anyhow::{Context, Result};

/// An `http://` URL, as an address and a path.
#[derive(Clone)]
pub(crate) struct Url {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

impl FromStr for Url {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let rest = text.strip_prefix("http://").context("a URL must begin with http://")?;
        let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address = address
            .to_socket_addrs()
            .context("a URL must have the form http://HOST:PORT/PATH")?
            .next()
            .context("the host has no address")?;
        Ok(Self { address, path: if path.is_empty() { "/" } else { path }.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_address_and_path() {
        let url: Url = "http://127.0.0.1:8003/mqtt/auth".parse().unwrap();
        assert_eq!((url.address.to_string().as_str(), url.path.as_str()), ("127.0.0.1:8003", "/mqtt/auth"));
        assert_eq!("http://127.0.0.1:1".parse::<Url>().unwrap().path, "/");
        for bad in ["127.0.0.1:8003/mqtt/auth", "https://127.0.0.1:8003/", "http:///mqtt/auth", "http://127.0.0.1/"] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }
}
