//! Whom a gate is that is asked by TLS, and who asks it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// What is needed for an address with `https://`.
#[derive(Args)]
pub(crate) struct Trust {
    /// Trust the certificates in this file, and no others: for an address with https://
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Show this certificate to the gate
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl Trust {
    /// The public authorities are not trusted: who has a certificate of theirs is not yet a gate.
    pub(crate) fn config(&self, is_needed: bool) -> Result<TlsConfig> {
        ensure!(!is_needed || self.ca.is_some(), "an address with https:// needs --ca FILE, the certificates to trust");
        let trusted = self.ca.as_deref().map(|file| certificates("--ca", file)).transpose()?;
        let shown = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let key = PrivateKey::from_pem(&read("--key", key)?).context("--key: not a private key")?;
                Some(ClientCert::new_with_certs(&certificates("--cert", cert)?, key))
            }
            _ => None,
        };
        Ok(TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&trusted.unwrap_or_default()))
            .client_cert(shown)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build())
    }
}

/// Whether the connection failed because one of the two did not trust the other.
pub(crate) fn is_at_fault(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
        ureq::Error::Io(error) => error.get_ref().is_some_and(|error| error.is::<rustls::Error>()),
        _ => false,
    }
}

fn certificates(flag: &'static str, file: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = read(flag, file)?;
    let found = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    let found = found.collect::<Result<Vec<_>, _>>().context(flag)?;
    ensure!(!found.is_empty(), "{flag}: there is no certificate in it");
    Ok(found)
}

fn read(flag: &'static str, file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("{flag}: cannot read this file"))
}
