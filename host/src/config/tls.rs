//! `[tls]` and `[admin_tls]`: the certificate of a listener.

use std::path::PathBuf;

use serde::Deserialize;

/// PEM files of a certificate. The gate watches them and uses a new certificate for the next connections.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "the keys `certificate`, `key` and `client_ca`")]
pub struct TlsConfig {
    /// The certificate, followed by its intermediate certificates.
    pub certificate: PathBuf,
    /// The private key of the certificate: RSA or ECDSA, not encrypted.
    pub key: PathBuf,
    /// Certificate authorities of clients. If present, clients must have a certificate that one of them signed.
    pub client_ca: Option<PathBuf>,
}

impl TlsConfig {
    /// All files, in the order certificate, key, client authorities.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca)
    }
}
