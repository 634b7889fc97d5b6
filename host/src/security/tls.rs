//! TLS: a certificate with its key, and which clients have to have one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{WebPkiClientVerifier, danger::ClientCertVerifier};
use tokio_rustls::rustls::{self, InconsistentKeys, RootCertStore, ServerConfig};

use crate::net::accept::Told;
use crate::config::TlsConfig;
use crate::security::reloadable::{Contents, Recipe, Unread};
use mqtt_gate_engine::util::file::shown_path;
use crate::security::stream::Wire;

/// Why there is no TLS. Never tells what a file holds.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(transparent)]
    Unread(Unread),
    /// A file does not hold what it should.
    #[error("{}: {problem}", shown_path(path))]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate is for another key.
    #[error("the key in {} does not fit the first certificate in {}", shown_path(key), shown_path(certificate))]
    OtherKey {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// It cannot be used for another reason.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// The certificate of one listener, which is read anew when its files change.
pub(crate) struct Certificate {
    pub(crate) name: &'static str,
    pub(crate) config: TlsConfig,
}

/// What a certificate is good for.
pub(crate) struct Certified {
    acceptor: TlsAcceptor,
    /// When it ends, as far as that can be read. (Those that follow it may end earlier and do no harm.)
    pub(crate) expires: Option<SystemTime>,
}

/// Greets clients with the certificate of now.
#[derive(Clone)]
pub(crate) struct Tls {
    certified: Arc<ArcSwap<Certified>>,
    failed: Arc<Mutex<Told>>,
}

impl Recipe for Certificate {
    type Product = Certified;
    type Error = TlsError;

    fn name(&self) -> &'static str {
        self.name
    }

    fn files(&self) -> Vec<PathBuf> {
        let TlsConfig { certificate, key, client_ca } = self.config.clone();
        [certificate, key].into_iter().chain(client_ca).collect()
    }

    fn unread(&self, unread: Unread) -> TlsError {
        TlsError::Unread(unread)
    }

    fn make(&self, contents: &[Contents]) -> Result<Certified, TlsError> {
        let TlsConfig { certificate, key, client_ca } = &self.config;
        let content = |at: usize| contents.get(at).map_or(&[][..], |content| content.as_slice());
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let builder = match client_ca {
            Some(path) => builder.with_client_cert_verifier(clients_of(path, content(2), provider)?),
            None => builder.with_no_client_auth(),
        };
        let chain = read_chain(certificate, content(0))?;
        let expires = chain.first().and_then(end_of);
        let mut server =
            builder.with_single_cert(chain, read_key(key, content(1))?).map_err(|error| self.unfit(error))?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Certified { acceptor: TlsAcceptor::from(Arc::new(server)), expires })
    }
}

impl Certificate {
    /// Which of the two files it is about.
    fn unfit(&self, error: rustls::Error) -> TlsError {
        let TlsConfig { certificate, key, .. } = self.config.clone();
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::OtherKey { key, certificate },
            rustls::Error::InvalidCertificate(_) => unfit(&certificate, error.to_string()),
            _ => unfit(&key, error.to_string()),
        }
    }
}

/// Certificates, the client's own first.
fn read_chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, PemError>>()
        .map_err(|_| unfit(path, "not a certificate in PEM"))?;
    if chain.is_empty() { Err(unfit(path, "there is no certificate in it")) } else { Ok(chain) }
}

/// The end of the year 9999, in seconds since 1970: no later time is written as a date.
const LAST: i64 = 253_402_300_799;

/// When a certificate ends.
fn end_of(certificate: &CertificateDer) -> Option<SystemTime> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let end = certificate.validity().not_after.timestamp().clamp(0, LAST);
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(end).ok()?))
}

fn read_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(pem) {
        // The older kind says so within.
        Ok(key) if !is_encrypted(pem) => Ok(key),
        _ if is_encrypted(pem) => {
            Err(unfit(path, "the key is encrypted; take the passphrase off: openssl pkey -in THIS -out THAT"))
        }
        Err(PemError::NoItemsFound) => Err(unfit(path, "there is no private key in it")),
        _ => Err(unfit(path, "not a private key in PEM")),
    }
}

fn is_encrypted(pem: &[u8]) -> bool {
    pem.windows(b"ENCRYPTED".len()).any(|text| text == b"ENCRYPTED")
}

/// Lets in who has a certificate of these authorities, and nobody else.
fn clients_of(path: &Path, pem: &[u8], provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut authorities = RootCertStore::empty();
    for authority in read_chain(path, pem)? {
        authorities.add(authority).map_err(|error| unfit(path, error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
        .build()
        .map_err(|error| unfit(path, error.to_string()))
}

fn unfit(path: &Path, problem: impl Into<String>) -> TlsError {
    TlsError::Unfit { path: path.to_owned(), problem: problem.into() }
}

impl Tls {
    pub(crate) fn new(certified: Arc<ArcSwap<Certified>>) -> Self {
        Self { certified, failed: Arc::default() }
    }

    /// Comes to an understanding with a client, in so much time at the most.
    pub(crate) async fn greet(&self, stream: TcpStream, most: Duration) -> Option<Wire> {
        let acceptor = self.certified.load().acceptor.clone();
        match timeout(most, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Some(Wire::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                self.tell(&error);
                None
            }
            Err(_) => None,
        }
    }

    /// Who connects and says nothing is a probe of the port, and no news.
    fn tell(&self, error: &io::Error) {
        let is_news = error.kind() != io::ErrorKind::UnexpectedEof && error.kind() != io::ErrorKind::ConnectionReset;
        if is_news && self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
            tracing::warn!(
                %error,
                remedy = "have the broker ask by https, trust the gate's authority, and show a certificate if client_ca is set",
                "a client does not come to speak TLS with the gate; no more of these are told for a minute"
            );
        }
    }
}
