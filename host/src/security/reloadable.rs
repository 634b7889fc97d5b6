//! Values that are loaded from files and reloaded when the files change: certificates and secrets.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use mqtt_gate_engine::util::file::{displayable_path, read_file};
use mqtt_gate_engine::watch::Reload;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::CredentialError;

/// Builds a value from the contents of files.
pub(crate) trait Loader: Send + Sync + 'static {
    /// The value that is built.
    type Value: Send + Sync + 'static;

    /// Paths of the files, always the same. Without files the value is loaded once.
    fn files(&self) -> Vec<PathBuf>;

    /// Builds the value from the contents of [`Self::files`], in the same order.
    ///
    /// # Errors
    /// The contents are not valid. The error never contains them.
    fn load(&self, files: &[Zeroizing<Vec<u8>>]) -> Result<Self::Value, CredentialError>;
}

/// The value of a [`Loader`], which follows its files. Keeps the previous value when a reload fails.
pub(crate) struct ReloadableFile<L: Loader> {
    name: &'static str,
    loader: L,
    current: Arc<ArcSwap<L::Value>>,
    active: [u8; 32],
    reload_error: Arc<ArcSwapOption<ReloadError>>,
}

/// Contents of all files of one value. Compared by digest.
pub(crate) struct Contents {
    files: Vec<Zeroizing<Vec<u8>>>,
    digest: [u8; 32],
}

/// Why the last reload failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReloadError {
    /// The error, on one line. Never contains what a file holds.
    pub(crate) reason: String,
    /// Time of the first failure with this reason.
    pub(crate) at: SystemTime,
}

impl<L: Loader> ReloadableFile<L> {
    /// Loads the value for the first time. `name` is its key in the configuration.
    ///
    /// # Errors
    /// A file cannot be read, or its contents are not valid.
    pub(crate) fn load(name: &'static str, loader: L) -> Result<Self, CredentialError> {
        let contents = Contents::read(&loader.files())?;
        let current = Arc::new(ArcSwap::from_pointee(loader.load(&contents.files)?));
        Ok(Self { name, loader, current, active: contents.digest, reload_error: Arc::default() })
    }

    /// The key of the value in the configuration.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The current value, for readers.
    pub(crate) fn current(&self) -> Arc<ArcSwap<L::Value>> {
        Arc::clone(&self.current)
    }

    /// Why the last reload failed, for readers.
    pub(crate) fn reload_error(&self) -> Arc<ArcSwapOption<ReloadError>> {
        Arc::clone(&self.reload_error)
    }
}

impl Contents {
    fn read(files: &[PathBuf]) -> Result<Self, CredentialError> {
        let read_one = |path: &PathBuf| match read_file(path) {
            Ok(contents) => Ok(Zeroizing::new(contents)),
            Err(source) => Err(CredentialError::Read { path: displayable_path(path).into_owned(), source }),
        };
        let files = files.iter().map(read_one).collect::<Result<Vec<_>, _>>()?;
        let mut digest = Sha256::new();
        for file in &files {
            // The digest of each file, so that bytes cannot move from one file to the next unnoticed.
            digest.update(Sha256::digest(file.as_slice()));
        }
        Ok(Self { files, digest: digest.finalize().into() })
    }
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl<L: Loader> Reload for ReloadableFile<L> {
    type Contents = Contents;
    type Value = L::Value;
    type Error = CredentialError;

    fn files(&self) -> Vec<PathBuf> {
        self.loader.files()
    }

    fn read(&self) -> Result<Contents, CredentialError> {
        Contents::read(&self.loader.files())
    }

    fn load(&self, contents: &Contents) -> Result<L::Value, CredentialError> {
        self.loader.load(&contents.files)
    }

    fn is_active(&self, contents: &Contents) -> bool {
        contents.digest == self.active
    }

    fn activate(&mut self, contents: Contents, value: L::Value) {
        self.current.store(Arc::new(value));
        self.active = contents.digest;
        self.reload_error.store(None);
        tracing::info!(credential = self.name, "credential reloaded");
    }

    fn reject(&mut self, _contents: Option<&Contents>, reason: &str) {
        let error = ReloadError { reason: reason.to_owned(), at: SystemTime::now() };
        self.reload_error.store(Some(Arc::new(error)));
        let hint = "correct the files, or restore the previous ones";
        tracing::error!(credential = self.name, reason, hint, "credential reload failed; keeping the previous version");
    }

    fn restore(&mut self) {
        self.reload_error.store(None);
        tracing::info!(credential = self.name, "credential files restored");
    }

    /// A file that cannot be read may be readable later, although its signature does not change.
    fn is_transient(error: &CredentialError) -> bool {
        matches!(error, CredentialError::Read { .. })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// Accepts files that begin with `ok`.
    struct TextLoader(Vec<PathBuf>);

    impl Loader for TextLoader {
        type Value = String;

        fn files(&self) -> Vec<PathBuf> {
            self.0.clone()
        }

        fn load(&self, files: &[Zeroizing<Vec<u8>>]) -> Result<String, CredentialError> {
            let bytes = files.iter().flat_map(|file| file.iter().copied()).collect();
            let text = String::from_utf8(bytes).unwrap();
            if text.starts_with("ok") { Ok(text) } else { Err(CredentialError::Secret("is not ok")) }
        }
    }

    fn files(directory: &TempDir, texts: &[&str]) -> Vec<PathBuf> {
        let write = |(number, text): (usize, &&str)| {
            let path = directory.path().join(number.to_string());
            fs::write(&path, text).unwrap();
            path
        };
        texts.iter().enumerate().map(write).collect()
    }

    #[test]
    fn a_value_follows_its_files_and_survives_bad_ones() {
        let directory = TempDir::new().unwrap();
        let mut file = ReloadableFile::load("x", TextLoader(files(&directory, &["ok", " 1"]))).unwrap();
        let (current, error) = (file.current(), file.reload_error());
        assert!(file.is_active(&file.read().unwrap()));

        files(&directory, &["ok", " 2"]);
        let contents = file.read().unwrap();
        assert!(!file.is_active(&contents));
        let value = Reload::load(&file, &contents).unwrap();
        file.activate(contents, value);
        assert_eq!(**current.load(), "ok 2");

        files(&directory, &["bad", " 2"]);
        let contents = file.read().unwrap();
        assert!(Reload::load(&file, &contents).is_err());
        file.reject(Some(&contents), "it is bad");
        assert_eq!((current.load().as_str(), &*error.load().as_ref().unwrap().reason), ("ok 2", "it is bad"));

        files(&directory, &["ok", " 2"]);
        assert!(file.is_active(&file.read().unwrap()));
        file.restore();
        assert!(error.load().is_none());
    }

    #[test]
    fn bytes_that_move_from_one_file_to_the_next_are_a_change() {
        let directory = TempDir::new().unwrap();
        let paths = files(&directory, &["ok", " 1"]);
        let before = Contents::read(&paths).unwrap();
        files(&directory, &["ok ", "1"]);
        assert!(before != Contents::read(&paths).unwrap());
    }

    #[test]
    fn a_missing_file_is_named() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("missing");
        let error = ReloadableFile::load("x", TextLoader(vec![path.clone()])).err().unwrap();
        assert_eq!(error.to_string(), format!("cannot read {}", path.display()));
    }
}
