//! TLS of a listener: the certificate with its key, and the authorities of clients.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{WebPkiClientVerifier, danger::ClientCertVerifier};
use tokio_rustls::rustls::{self, InconsistentKeys, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use zeroize::Zeroizing;

use super::handshake_failures::{HandshakeFailure, HandshakeFailures};
use super::reloadable::Loader;
use super::{CredentialError, certificate};
use crate::config::TlsConfig;
use crate::util::log_throttle::LogThrottle;

/// A connection, plain (`Left`) or in TLS (`Right`).
pub(crate) type MaybeTlsStream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Loads a certificate with its key and the authorities of clients.
pub(crate) struct CertificateLoader(pub(crate) TlsConfig);

/// A certificate that the gate can present.
pub(crate) struct ServerCertificate {
    acceptor: TlsAcceptor,
    /// When the certificate expires, if that can be read. Intermediate certificates are not considered.
    pub(crate) not_after: Option<SystemTime>,
}

/// Accepts TLS connections with the current certificate.
#[derive(Clone)]
pub(crate) struct ServerTls {
    certificate: Arc<ArcSwap<ServerCertificate>>,
    failures: Arc<HandshakeFailures>,
    throttle: Arc<Mutex<LogThrottle>>,
}

impl Loader for CertificateLoader {
    type Value = ServerCertificate;

    fn files(&self) -> Vec<PathBuf> {
        self.0.files().cloned().collect()
    }

    fn load(&self, files: &[Zeroizing<Vec<u8>>]) -> Result<ServerCertificate, CredentialError> {
        let TlsConfig { certificate, key, client_ca } = &self.0;
        let pem = |index: usize| files.get(index).map_or(&[][..], |file| file.as_slice());
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(CredentialError::Tls)?;
        let builder = match client_ca {
            Some(path) => builder.with_client_cert_verifier(client_verifier(path, pem(2), provider)?),
            None => builder.with_no_client_auth(),
        };
        let chain = parse_chain(certificate, pem(0))?;
        let not_after = chain.first().and_then(|certificate| certificate::not_after(certificate));
        let mut config =
            builder.with_single_cert(chain, parse_key(key, pem(1))?).map_err(|error| self.classify(error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(ServerCertificate { acceptor: TlsAcceptor::from(Arc::new(config)), not_after })
    }
}

impl CertificateLoader {
    /// Attributes an error of rustls to one of the files.
    fn classify(&self, error: rustls::Error) -> CredentialError {
        let TlsConfig { certificate, key, .. } = self.0.clone();
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                CredentialError::KeyMismatch { key, certificate }
            }
            rustls::Error::InvalidCertificate(_) => invalid(&certificate, error.to_string()),
            _ => invalid(
                &key,
                "the gate has no use for this kind of key; it takes RSA from 2048 bits, ECDSA P-256 or P-384, and Ed25519",
            ),
        }
    }
}

/// Parses certificates, the leaf first.
fn parse_chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    refuse_byte_order_mark(path, pem)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, PemError>>()
        .map_err(|_| invalid(path, "not a certificate in PEM"))?;
    if chain.is_empty() { Err(invalid(path, "there is no certificate in it")) } else { Ok(chain) }
}

fn parse_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, CredentialError> {
    refuse_byte_order_mark(path, pem)?;
    match PrivateKeyDer::from_pem_slice(pem) {
        // A PKCS#1 key says inside that it is encrypted, so it parses.
        Ok(key) if !is_encrypted(pem) => Ok(key),
        _ if is_encrypted(pem) => {
            Err(invalid(path, "the key is encrypted; decrypt it with `openssl pkey -in ENCRYPTED -out PLAIN`"))
        }
        Err(PemError::NoItemsFound) => Err(invalid(path, "there is no private key in it")),
        _ => Err(invalid(path, "not a private key in PEM")),
    }
}

/// With the mark, the first block would be skipped: for a chain that is the gate's own certificate.
fn refuse_byte_order_mark(path: &Path, pem: &[u8]) -> Result<(), CredentialError> {
    let has_mark = pem.starts_with(b"\xef\xbb\xbf") || pem.starts_with(b"\xff\xfe") || pem.starts_with(b"\xfe\xff");
    if has_mark {
        Err(invalid(path, "begins with a byte order mark; save the file as ASCII without one"))
    } else {
        Ok(())
    }
}

fn is_encrypted(pem: &[u8]) -> bool {
    pem.windows(b"ENCRYPTED".len()).any(|text| text == b"ENCRYPTED")
}

/// A verifier that accepts clients with a certificate of these authorities.
fn client_verifier(
    path: &Path,
    pem: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, CredentialError> {
    let mut authorities = RootCertStore::empty();
    for authority in parse_chain(path, pem)? {
        authorities.add(authority).map_err(|error| invalid(path, error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
        .build()
        .map_err(|error| invalid(path, error.to_string()))
}

fn invalid(path: &Path, problem: impl Into<String>) -> CredentialError {
    CredentialError::File { path: path.to_owned(), problem: problem.into() }
}

impl ServerTls {
    pub(crate) fn new(certificate: Arc<ArcSwap<ServerCertificate>>) -> Self {
        Self { certificate, failures: Arc::default(), throttle: Arc::default() }
    }

    /// Performs the handshake. `None` if it fails or takes longer than `limit`.
    pub(crate) async fn handshake(&self, stream: TcpStream, limit: Duration) -> Option<MaybeTlsStream> {
        let acceptor = self.certificate.load().acceptor.clone();
        match timeout(limit, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Some(Either::Right(Box::new(stream))),
            Ok(Err(error)) => {
                if let Some(cause) = HandshakeFailure::of(&error) {
                    self.record_failure(cause, &error);
                }
                None
            }
            Err(_) => {
                self.record_failure(HandshakeFailure::TimedOut, &io::ErrorKind::TimedOut.into());
                None
            }
        }
    }

    /// Counts of the handshakes that failed.
    pub(crate) fn failures(&self) -> Arc<HandshakeFailures> {
        Arc::clone(&self.failures)
    }

    fn record_failure(&self, cause: HandshakeFailure, error: &io::Error) {
        self.failures.record(cause, SystemTime::now());
        if self.throttle.lock().unwrap_or_else(PoisonError::into_inner).should_log(Instant::now()) {
            let (problem, hint) = (cause.problem(), cause.hint());
            tracing::warn!(problem, %error, hint, "TLS handshake failed; further failures not logged for a minute");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(files: &[&str]) -> String {
        let loader = CertificateLoader(TlsConfig {
            certificate: "/etc/chain.pem".into(),
            key: "/etc/key.pem".into(),
            client_ca: None,
        });
        let files: Vec<_> = files.iter().map(|text| Zeroizing::new(text.as_bytes().to_vec())).collect();
        loader.load(&files).err().unwrap().to_string()
    }

    #[test]
    fn an_error_names_the_file_and_not_its_contents() {
        let garbage = "-----BEGIN CERTIFICATE-----\ns3cret!\n-----END CERTIFICATE-----\n";
        assert_eq!(error(&["s3cret", ""]), "/etc/chain.pem: there is no certificate in it");
        assert_eq!(error(&[garbage, ""]), "/etc/chain.pem: not a certificate in PEM");
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(error(&[certificate, "s3cret"]), "/etc/key.pem: there is no private key in it");
        assert_eq!(
            error(&[&format!("\u{feff}{certificate}"), ""]),
            "/etc/chain.pem: begins with a byte order mark; save the file as ASCII without one"
        );
        assert!(error(&[certificate, "-----BEGIN ENCRYPTED PRIVATE KEY-----"]).contains("the key is encrypted"));
    }
}
