//! TLS flags of verbs that call a running gate.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// Certificates for an address with `https://`.
#[derive(Args)]
pub(crate) struct TlsArgs {
    /// Trust the certificates in this file and no others; required for an address with https://
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Present this client certificate to the gate
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Private key of the client certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl TlsArgs {
    /// Reads the certificates. Public CAs are not trusted: a publicly issued certificate does not identify a gate.
    pub(crate) fn config(&self, is_https: bool) -> Result<TlsConfig> {
        ensure!(!is_https || self.ca.is_some(), "an address with https:// needs --ca FILE, the certificates to trust");
        let trusted = self.ca.as_deref().map(|file| read_certificates("--ca", file)).transpose()?;
        let client_cert = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let key = PrivateKey::from_pem(&read("--key", key)?).context("--key: not a private key")?;
                Some(ClientCert::new_with_certs(&read_certificates("--cert", cert)?, key))
            }
            _ => None,
        };
        Ok(TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&trusted.unwrap_or_default()))
            .client_cert(client_cert)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build())
    }
}

/// Whether a request failed because one side did not accept the other's certificate.
pub(crate) fn is_tls_error(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
        ureq::Error::Io(error) => error.get_ref().is_some_and(|error| error.is::<rustls::Error>()),
        _ => false,
    }
}

fn read_certificates(flag: &'static str, file: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = read(flag, file)?;
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    let certificates = certificates.collect::<Result<Vec<_>, _>>().context(flag)?;
    ensure!(!certificates.is_empty(), "{flag}: there is no certificate in this file");
    Ok(certificates)
}

/// Reads a file. The error does not repeat its path, which may be a secret in the wrong place.
fn read(flag: &'static str, file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("{flag}: cannot read this file"))
}
