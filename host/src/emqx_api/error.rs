//! Failures of calls of the management API.

use mqtt_gate_engine::util::file::displayable_path;

use super::blocked::blocked_by;

/// A call of the management API that failed. Never contains the key or the secret.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The API cannot be reached, or did not respond in time.
    #[error("cannot reach it{}", .blocked.map(|reason| format!(" ({reason})")).unwrap_or_default())]
    Unreachable {
        /// The restriction of the operating system that caused it, if there is one.
        blocked: Option<&'static str>,
        /// The error of the connection.
        source: Box<ureq::Error>,
    },
    /// The certificate is not one that `api_ca` vouches for.
    #[error("the TLS handshake failed; check broker.api_ca")]
    Tls(#[source] Box<ureq::Error>),
    /// The key or the secret is wrong.
    #[error("it rejects the API key; check broker.api_key and broker.api_secret")]
    Unauthorized,
    /// The key may not do this.
    #[error(
        "the API key lacks a permission; EMQX 6 needs the role administrator and the scopes access_control and connections"
    )]
    Forbidden,
    /// Something else answers at this address.
    #[error("it responded with status {0}; check that broker.api is the management API of EMQX")]
    Status(u16),
    /// The response is not the one that EMQX sends.
    #[error("its response cannot be read; check that broker.api is the management API of EMQX")]
    Response,
    /// The response is longer than any that EMQX should send.
    #[error("its response is too long; check that broker.api is the management API of EMQX")]
    TooLong,
    /// The key or the secret cannot be read.
    #[error("cannot read {0}")]
    Credential(&'static str, #[source] std::io::Error),
    /// The key or the secret is not one that EMQX issues.
    #[error("{0} is not one word of printable ASCII")]
    NotAWord(&'static str),
}

/// The certificates of the API cannot be used. The gate does not start.
#[derive(Debug, thiserror::Error)]
pub enum ApiConfigError {
    /// The file cannot be read.
    #[error("broker.api_ca: cannot read {}", displayable_path(.0))]
    Read(std::path::PathBuf, #[source] std::io::Error),
    /// The file holds no certificate.
    #[error("broker.api_ca: there is no certificate in {}; it must be in PEM", displayable_path(.0))]
    NoCertificate(std::path::PathBuf),
}

impl From<ureq::Error> for ApiError {
    fn from(error: ureq::Error) -> Self {
        if matches!(error, ureq::Error::BodyExceedsLimit(_)) {
            return Self::TooLong;
        }
        let is_tls = match &error {
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
            ureq::Error::Io(error) => error.get_ref().is_some_and(|error| error.is::<rustls::Error>()),
            _ => false,
        };
        if is_tls {
            return Self::Tls(Box::new(error));
        }
        let blocked = blocked_by(match &error {
            ureq::Error::Io(error) => Some(error),
            _ => None,
        });
        Self::Unreachable { blocked, source: Box::new(error) }
    }
}
