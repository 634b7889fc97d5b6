//! A certificate authority, and TLS clients that trust it.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::http::Connection;
use crate::support::within_timeout;

/// A root CA with an intermediate CA that issues the certificates.
pub(crate) struct Ca {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// The names of this machine.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A certificate chain without the root, and its private key, in PEM.
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let root = CertifiedIssuer::self_signed(ca_params("root"), KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let intermediate = CertifiedIssuer::signed_by(ca_params("intermediate"), key, &root).unwrap();
        Self { root, intermediate }
    }

    /// The root certificate in PEM.
    pub(crate) fn root(&self) -> String {
        self.root.pem()
    }

    /// Issues a certificate for this machine with a new key.
    pub(crate) fn identity(&self) -> Identity {
        self.identity_with_key(&KeyPair::generate().unwrap().serialize_pem())
    }

    /// Issues a certificate for this machine and a key in PKCS#8.
    pub(crate) fn identity_with_key(&self, key: &str) -> Identity {
        self.issue(CertificateParams::new(NAMES.map(str::to_owned)).unwrap(), key)
    }

    /// Issues a certificate for this machine that expires at the end of `year`.
    pub(crate) fn identity_expiring(&self, year: i32) -> Identity {
        let mut params = CertificateParams::new(NAMES.map(str::to_owned)).unwrap();
        params.not_after = date_time_ymd(year, 12, 31);
        self.issue(params, &KeyPair::generate().unwrap().serialize_pem())
    }

    fn issue(&self, params: CertificateParams, key: &str) -> Identity {
        let pair = KeyPair::from_pem(key).unwrap();
        let certificate = params.signed_by(&pair, &self.intermediate).unwrap();
        Identity { chain: certificate.pem() + &self.intermediate.pem(), key: key.to_owned() }
    }

    /// Connects as a client that trusts the root and presents `identity`.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        identity: Option<&Identity>,
    ) -> std::io::Result<Connection<TlsStream<TcpStream>>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().unwrap();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = within_timeout("the TLS handshake", handshake).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        Ok(Connection::from_stream(stream))
    }

    /// Connects to a gate that restarts: a handshake that the shutdown interrupts is repeated with the next gate.
    pub(crate) async fn connect_with_retries(&self, address: SocketAddr) -> Connection<TlsStream<TcpStream>> {
        within_timeout("a TLS connection", async {
            loop {
                if let Ok(connection) = self.connect(address, None).await {
                    return connection;
                }
            }
        })
        .await
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
