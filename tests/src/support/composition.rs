//! A policy composed behind `wasi:http` by `mqtt-gate compose`.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::child::{mqtt_gate, run};

/// A composed component, as a file that exists until this is dropped.
pub(crate) struct Composition {
    path: PathBuf,
    /// The output of `mqtt-gate compose`.
    pub(crate) printed: String,
    _directory: TempDir,
}

impl Composition {
    /// Composes a policy that reads its settings from `wasi:config/store`.
    pub(crate) async fn with_config_store(policy: &str) -> Self {
        Self::compose(policy, &[]).await
    }

    /// Composes a policy that reads its settings from environment variables.
    pub(crate) async fn with_settings_from_env(policy: &str) -> Self {
        Self::compose(policy, &["--settings-from-env"]).await
    }

    async fn compose(policy: &str, flags: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("composition.wasm");
        let arguments = ["compose", policy, "-o", path.to_str().unwrap()];
        let (code, printed, error) = run(&mut mqtt_gate(arguments.into_iter().chain(flags.iter().copied()))).await;
        assert_eq!((code, error.as_str()), (Some(0), ""));
        Self { path, printed, _directory: directory }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
