//! Who makes certificates, and clients that trust it.

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

/// A root, and an authority below it that certifies.
pub(crate) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    below: CertifiedIssuer<'static, KeyPair>,
}

/// What this machine is called.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A certificate with those that lead to the root, and its key, in PEM.
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let below = CertifiedIssuer::signed_by(authority("below"), KeyPair::generate().unwrap(), &root).unwrap();
        Self { root, below }
    }

    pub(crate) fn root(&self) -> String {
        self.root.pem()
    }

    /// A certificate for this machine and a new key.
    pub(crate) fn identity(&self) -> Identity {
        self.identity_with(&KeyPair::generate().unwrap().serialize_pem())
    }

    /// A certificate for this machine and this key, in PKCS#8.
    pub(crate) fn identity_with(&self, key: &str) -> Identity {
        self.certify(CertificateParams::new(NAMES.map(str::to_owned)).unwrap(), key)
    }

    /// A certificate for this machine that ends with this year.
    pub(crate) fn identity_until(&self, year: i32) -> Identity {
        let mut params = CertificateParams::new(NAMES.map(str::to_owned)).unwrap();
        params.not_after = date_time_ymd(year, 12, 31);
        self.certify(params, &KeyPair::generate().unwrap().serialize_pem())
    }

    fn certify(&self, params: CertificateParams, key: &str) -> Identity {
        let pair = KeyPair::from_pem(key).unwrap();
        let certificate = params.signed_by(&pair, &self.below).unwrap();
        Identity { chain: certificate.pem() + &self.below.pem(), key: key.to_owned() }
    }

    /// Connects as somebody who trusts the root, and shows this.
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
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        Ok(Connection::over(stream))
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
