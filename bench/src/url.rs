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
