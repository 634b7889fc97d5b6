//! A policy put behind `wasi:http`, by the program.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::child::{mqtt_gate, run};

/// A composition, as a file that is there until this is dropped.
pub(crate) struct Composition {
    path: PathBuf,
    /// What the program said of it.
    pub(crate) said: String,
    _directory: TempDir,
}

impl Composition {
    /// One that takes its settings from the `wasi:config/store` of its host.
    pub(crate) async fn of(policy: &str) -> Self {
        Self::make(policy, &[]).await
    }

    /// One that takes its settings from the environment.
    pub(crate) async fn with_settings_from_env(policy: &str) -> Self {
        Self::make(policy, &["--settings-from-env"]).await
    }

    async fn make(policy: &str, flags: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("composition.wasm");
        let arguments = ["compose", policy, "-o", path.to_str().unwrap()];
        let (code, said, error) = run(&mut mqtt_gate(arguments.into_iter().chain(flags.iter().copied()))).await;
        assert_eq!((code, error.as_str()), (Some(0), ""));
        Self { path, said, _directory: directory }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
