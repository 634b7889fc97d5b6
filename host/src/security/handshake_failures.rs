//! TLS handshakes that failed, counted by cause.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::{AlertDescription, Error};

/// A cause counts as current for this time after its last failure. Brokers connect at least this often while devices log
/// in.
const CURRENT_TIME: Duration = Duration::from_secs(5 * 60);

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// `client_ca` is configured, and the client has no certificate.
    NoClientCertificate,
    /// The certificate of the client is not one of `client_ca`, or has expired.
    ClientCertificate,
    /// The client does not accept the certificate of the gate.
    ServerCertificate,
    /// The client does not speak TLS.
    NotTls,
    /// The client supports no version or cipher suite that the gate has.
    Incompatible,
    /// The handshake took too long.
    TimedOut,
    /// Any other cause.
    Other,
}

impl HandshakeFailure {
    const ALL: [Self; 7] = [
        Self::NoClientCertificate,
        Self::ClientCertificate,
        Self::ServerCertificate,
        Self::NotTls,
        Self::Incompatible,
        Self::TimedOut,
        Self::Other,
    ];

    /// The cause of an error. `None`: the client only opened and closed the connection, as health checks of load balancers
    /// do.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        use AlertDescription::{BadCertificate, CertificateExpired, CertificateUnknown, UnknownCA};
        let Some(tls) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else {
            let is_probe = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
            return if is_probe { None } else { Some(Self::Other) };
        };
        Some(match tls {
            Error::NoCertificatesPresented => Self::NoClientCertificate,
            Error::InvalidCertificate(_) => Self::ClientCertificate,
            Error::AlertReceived(BadCertificate | CertificateExpired | CertificateUnknown | UnknownCA) => {
                Self::ServerCertificate
            }
            Error::InvalidMessage(_) => Self::NotTls,
            Error::PeerIncompatible(_) => Self::Incompatible,
            _ => Self::Other,
        })
    }

    /// Label `cause`.
    pub(crate) const fn name(self) -> &'static str {
        self.info().0
    }

    /// The cause as a sentence.
    pub(crate) const fn problem(self) -> &'static str {
        self.info().1
    }

    /// The remedy.
    pub(crate) const fn hint(self) -> &'static str {
        self.info().2
    }

    const fn info(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::NoClientCertificate => (
                "no-client-certificate",
                "the client has no certificate",
                "give the broker a certificate of client_ca; EMQX shows such a backend as connected",
            ),
            Self::ClientCertificate => (
                "client-certificate",
                "the client's certificate is not one of client_ca, or has expired",
                "give the broker a valid certificate of client_ca",
            ),
            Self::ServerCertificate => (
                "server-certificate",
                "the client does not accept the gate's certificate",
                "let the broker trust the gate's CA, and call the gate by a name in its certificate",
            ),
            Self::NotTls => ("not-tls", "the client does not speak TLS", "write https:// in the broker's URL"),
            Self::Incompatible => (
                "incompatible",
                "the client supports no version or cipher suite of the gate",
                "let the broker use TLS 1.2 or 1.3",
            ),
            Self::TimedOut => {
                ("timed-out", "the handshake took too long", "check the network between the broker and the gate")
            }
            Self::Other => ("other", "the handshake failed", "read the error in the gate's log"),
        }
    }
}

/// Counts of one listener since the gate started.
#[derive(Default)]
pub(crate) struct HandshakeFailures([Counter; HandshakeFailure::ALL.len()]);

#[derive(Default)]
struct Counter {
    count: AtomicU64,
    /// Time of the last failure, in seconds since 1970.
    last: AtomicU64,
}

/// The failures of one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandshakeFailureCount {
    pub(crate) cause: HandshakeFailure,
    pub(crate) count: u64,
    pub(crate) last: SystemTime,
    /// Whether the last one is so recent that brokers may still fail.
    pub(crate) is_current: bool,
}

impl HandshakeFailures {
    pub(super) fn record(&self, cause: HandshakeFailure, now: SystemTime) {
        let Some(counter) = self.0.get(cause as usize) else { return };
        counter.count.fetch_add(1, Relaxed);
        counter.last.store(now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()), Relaxed);
    }

    /// The causes that occurred.
    pub(crate) fn counts(&self, now: SystemTime) -> Vec<HandshakeFailureCount> {
        let counts = HandshakeFailure::ALL.into_iter().zip(&self.0).map(|(cause, counter)| {
            let last = UNIX_EPOCH + Duration::from_secs(counter.last.load(Relaxed));
            let is_current = now.duration_since(last).map_or(true, |age| age < CURRENT_TIME);
            HandshakeFailureCount { cause, count: counter.count.load(Relaxed), last, is_current }
        });
        counts.filter(|count| count.count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::{CertificateError, InvalidMessage};

    use super::*;

    #[test]
    fn causes_are_told_apart_and_probes_of_the_port_do_not_count() {
        let tls = |error| HandshakeFailure::of(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, cause) in [
            (Error::NoCertificatesPresented, HandshakeFailure::NoClientCertificate),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), HandshakeFailure::ClientCertificate),
            (Error::AlertReceived(AlertDescription::UnknownCA), HandshakeFailure::ServerCertificate),
            (Error::AlertReceived(AlertDescription::DecodeError), HandshakeFailure::Other),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), HandshakeFailure::NotTls),
        ] {
            assert_eq!(tls(error), Some(cause));
        }
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset] {
            assert_eq!(HandshakeFailure::of(&kind.into()), None);
        }
        assert_eq!(HandshakeFailure::of(&io::ErrorKind::BrokenPipe.into()), Some(HandshakeFailure::Other));
    }

    #[test]
    fn a_cause_is_current_for_some_time() {
        let failures = HandshakeFailures::default();
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        assert_eq!(failures.counts(at(0)), []);
        failures.record(HandshakeFailure::NotTls, at(0));
        failures.record(HandshakeFailure::NotTls, at(1));
        let count =
            |is_current| HandshakeFailureCount { cause: HandshakeFailure::NotTls, count: 2, last: at(1), is_current };
        assert_eq!(failures.counts(at(300)), [count(true)]);
        assert_eq!(failures.counts(at(301)), [count(false)]);
    }

    #[test]
    fn each_cause_has_its_place() {
        for (index, cause) in HandshakeFailure::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }
}
