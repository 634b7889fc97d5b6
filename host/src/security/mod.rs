//! What stands before an address: a certificate, and a secret that whoever asks has to know.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::security::secret::{AccessError, Guard, Secret};
use crate::config::{ADMIN_TOKEN, BROKER_SECRET, Config, TlsConfig};
use crate::security::reloadable::{Recipe, Refusal, Renewed};
use mqtt_gate_engine::settings::SecretSource;
use crate::util::shutdown::Stopping;
use crate::security::tls::{Certificate, Certified, Tls, TlsError};

/// Why an address cannot be kept as the operator wants it to be.
#[derive(Debug, thiserror::Error)]
pub enum SafeguardError {
    /// By TLS.
    #[error("{name}")]
    Tls {
        /// Its name in the configuration.
        name: &'static str,
        /// What is wrong.
        source: TlsError,
    },
    /// By a secret.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// What stands before one address.
pub(crate) struct Safeguards {
    certificate: Option<Renewed<Certificate>>,
    secret: Option<Renewed<Secret>>,
}

/// How one of them is, now and later.
#[derive(Clone)]
pub(crate) struct Condition {
    /// Its name in the configuration.
    pub(crate) name: &'static str,
    refused: watch::Receiver<Option<Refusal>>,
    certified: Option<Arc<ArcSwap<Certified>>>,
}

impl Condition {
    fn of<R: Recipe>(renewed: &Renewed<R>, certified: Option<Arc<ArcSwap<Certified>>>) -> Self {
        Self { name: renewed.name(), refused: renewed.refused(), certified }
    }

    /// Why what its files hold now is not in use.
    pub(crate) fn refused(&self) -> Option<Refusal> {
        self.refused.borrow().clone()
    }

    /// Whether it is a certificate, or else a secret.
    pub(crate) fn is_certificate(&self) -> bool {
        self.certified.is_some()
    }

    /// When a certificate ends, as far as that can be read.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        self.certified.as_ref().and_then(|certified| certified.load().expires)
    }
}

impl Safeguards {
    /// Of the address where brokers ask.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn of_logins(config: &Config) -> Result<Self, SafeguardError> {
        Self::prepare(("tls", config.tls.as_ref()), (BROKER_SECRET, config.access.broker_secret.as_ref()))
    }

    /// Of the address where the operator asks.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn of_admin(config: &Config) -> Result<Self, SafeguardError> {
        Self::prepare(("admin_tls", config.admin_tls.as_ref()), (ADMIN_TOKEN, config.access.admin_token.as_ref()))
    }

    fn prepare(
        (tls, config): (&'static str, Option<&TlsConfig>),
        (name, source): (&'static str, Option<&SecretSource>),
    ) -> Result<Self, SafeguardError> {
        let certificate = config.map(|config| Renewed::new(Certificate { name: tls, config: config.clone() }));
        let secret = source.map(|source| Renewed::new(Secret { name, source: source.clone() }));
        Ok(Self {
            certificate: certificate.transpose().map_err(|source| SafeguardError::Tls { name: tls, source })?,
            secret: secret.transpose()?,
        })
    }

    /// How clients are greeted, if in TLS.
    pub(crate) fn tls(&self) -> Option<Tls> {
        self.certificate.as_ref().map(|certificate| Tls::new(certificate.current()))
    }

    /// Who may ask.
    pub(crate) fn guard(&self) -> Guard {
        Guard::new(self.secret.as_ref().map(Renewed::current))
    }

    /// How they are.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = Condition> {
        let certificate = self.certificate.as_ref().map(|it| Condition::of(it, Some(it.current())));
        certificate.into_iter().chain(self.secret.as_ref().map(|it| Condition::of(it, None)))
    }

    /// Takes what is put in the place of the files of any of them, until the gate stops.
    pub(crate) async fn run(all: [Self; 2], stopping: Stopping) {
        let mut running = JoinSet::new();
        for Self { certificate, secret } in all {
            certificate.map(|certificate| running.spawn(certificate.run(stopping.clone())));
            secret.map(|secret| running.spawn(secret.run(stopping.clone())));
        }
        running.join_all().await;
    }
}
