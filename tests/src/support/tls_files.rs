//! Certificate files, as an operator keeps and replaces them.

use std::fs;
use std::path::{Path, PathBuf};

use mqtt_gate::config::TlsConfig;
use tempfile::TempDir;

use crate::support::ca::Identity;

/// A directory with `chain.pem`, `key.pem` and other files of one listener.
pub(crate) struct TlsFiles {
    directory: TempDir,
}

impl TlsFiles {
    pub(crate) fn new(identity: &Identity) -> Self {
        let files = Self { directory: TempDir::new().unwrap() };
        files.replace("chain.pem", &identity.chain);
        files.replace("key.pem", &identity.key);
        files
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes or replaces a file atomically.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// The configuration of a listener without client certificates.
    pub(crate) fn config(&self) -> TlsConfig {
        TlsConfig { certificate: self.path("chain.pem"), key: self.path("key.pem"), client_ca: None }
    }

    /// The same configuration as an inline table of `gate.toml`.
    pub(crate) fn toml(&self) -> String {
        format!("{{ certificate = {:?}, key = {:?} }}", self.path("chain.pem"), self.path("key.pem"))
    }

    /// As [`Self::toml`], with `ca.pem` as the CA of clients.
    pub(crate) fn toml_with_client_ca(&self) -> String {
        self.toml().replace(" }", &format!(", client_ca = {:?} }}", self.path("ca.pem")))
    }
}
