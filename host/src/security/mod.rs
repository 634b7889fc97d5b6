//! TLS and secrets of the two listeners. Both are reloaded when their files change.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use mqtt_gate_engine::SecretSource;
use mqtt_gate_engine::util::file::displayable_path;
use mqtt_gate_engine::watch::{Reloadable, Watched};

use crate::config::{ADMIN_TOKEN, BROKER_SECRET, Config, TlsConfig};

mod certificate;
pub(crate) mod handshake_failures;
pub(crate) mod presented;
mod reloadable;
pub(crate) mod secret;
pub(crate) mod tls;

pub(crate) use reloadable::ReloadError;
use reloadable::{Loader, ReloadableFile};
use secret::SecretLoader;
pub(crate) use secret::{AuthError, SecretVerifier};
use tls::{CertificateLoader, ServerCertificate};
pub(crate) use tls::{MaybeTlsStream, ServerTls};

/// Why a credential of the gate cannot be used. Never contains what a file holds.
#[derive(Debug, thiserror::Error)]
#[error("{name}")]
pub struct SecurityError {
    /// Key of the credential in the configuration.
    name: &'static str,
    source: CredentialError,
}

/// A problem of a certificate, a key or a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    #[error("{}: {problem}", displayable_path(path))]
    File { path: PathBuf, problem: String },
    #[error(
        "the key in {} does not fit the first certificate in {}",
        displayable_path(key),
        displayable_path(certificate)
    )]
    KeyMismatch { key: PathBuf, certificate: PathBuf },
    #[error("cannot set up TLS")]
    Tls(#[source] tokio_rustls::rustls::Error),
    #[error("the secret {0}")]
    Secret(&'static str),
    #[error("the secret {0}; `openssl rand -hex 32` generates one")]
    WeakSecret(&'static str),
}

/// TLS and secret of one listener.
pub(crate) struct ListenerSecurity {
    certificate: Option<ReloadableFile<CertificateLoader>>,
    secret: Option<ReloadableFile<SecretLoader>>,
}

/// Current state of a credential, for status and metrics.
#[derive(Clone)]
pub(crate) struct CredentialHandle {
    /// Key in the configuration.
    pub(crate) name: &'static str,
    certificate: Option<Arc<ArcSwap<ServerCertificate>>>,
    reload_error: Arc<ArcSwapOption<ReloadError>>,
}

impl CredentialHandle {
    fn new<L: Loader>(file: &ReloadableFile<L>, certificate: Option<Arc<ArcSwap<ServerCertificate>>>) -> Self {
        Self { name: file.name(), certificate, reload_error: file.reload_error() }
    }

    /// Whether the credential is a certificate. Otherwise it is a secret.
    pub(crate) fn is_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// When the certificate expires, if that can be read.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        self.certificate.as_ref().and_then(|certificate| certificate.load().not_after)
    }

    /// Why the last reload failed. `None` while the files hold the current version.
    pub(crate) fn reload_error(&self) -> Option<ReloadError> {
        self.reload_error.load().as_deref().cloned()
    }
}

impl ListenerSecurity {
    /// Loads the credentials of the listener for brokers.
    ///
    /// # Errors
    /// A file cannot be read or is not valid.
    pub(crate) fn for_auth(config: &Config) -> Result<Self, SecurityError> {
        Self::load("tls", config.tls.as_ref(), BROKER_SECRET, config.access.broker_secret.as_ref())
    }

    /// Loads the credentials of the listener for operators.
    ///
    /// # Errors
    /// A file cannot be read or is not valid.
    pub(crate) fn for_admin(config: &Config) -> Result<Self, SecurityError> {
        Self::load("admin_tls", config.admin_tls.as_ref(), ADMIN_TOKEN, config.access.admin_token.as_ref())
    }

    fn load(
        tls_name: &'static str,
        tls: Option<&TlsConfig>,
        secret_name: &'static str,
        secret: Option<&SecretSource>,
    ) -> Result<Self, SecurityError> {
        Ok(Self {
            certificate: tls.map(|config| load(tls_name, CertificateLoader(config.clone()))).transpose()?,
            secret: secret.map(|source| load(secret_name, SecretLoader(source.clone()))).transpose()?,
        })
    }

    /// TLS of the listener; `None` for plain connections.
    pub(crate) fn tls(&self) -> Option<ServerTls> {
        self.certificate.as_ref().map(|certificate| ServerTls::new(certificate.current()))
    }

    /// The verifier of the listener's secret.
    pub(crate) fn secret(&self) -> SecretVerifier {
        SecretVerifier::new(self.secret.as_ref().map(ReloadableFile::current))
    }

    /// The state of each credential.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = CredentialHandle> {
        let certificate = self.certificate.as_ref().map(|file| CredentialHandle::new(file, Some(file.current())));
        certificate.into_iter().chain(self.secret.as_ref().map(|file| CredentialHandle::new(file, None)))
    }

    /// Everything that the watch thread reloads.
    pub(crate) fn into_watched(self) -> Vec<Box<dyn Watched>> {
        let certificate = self.certificate.map(|file| Box::new(Reloadable::new(file)) as Box<dyn Watched>);
        let secret = self.secret.map(|file| Box::new(Reloadable::new(file)) as Box<dyn Watched>);
        certificate.into_iter().chain(secret).collect()
    }
}

/// The secret of the brokers of one tenant.
pub(crate) type BrokerSecret = ReloadableFile<SecretLoader>;

/// Loads the secret of the brokers of one tenant.
///
/// # Errors
/// A file cannot be read or is not valid.
pub(crate) fn load_broker_secret(source: &SecretSource) -> Result<BrokerSecret, SecurityError> {
    load(BROKER_SECRET, SecretLoader(source.clone()))
}

fn load<L: Loader>(name: &'static str, loader: L) -> Result<ReloadableFile<L>, SecurityError> {
    ReloadableFile::load(name, loader).map_err(|source| SecurityError { name, source })
}
