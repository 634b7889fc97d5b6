//! `mqtt-gate compose`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use mqtt_gate::ServeError;
use mqtt_gate::compose::{Composition, SettingsFrom, compose};
use mqtt_gate::config::Limits;
use mqtt_gate::policy::{Digest, LoadError};
use mqtt_gate::sandbox::Sandbox;

use super::show::{self, PrintError};

/// The flags of `compose`.
#[derive(Args)]
#[command(after_help = "Examples:
  mqtt-gate compose policy.wasm -o gate.wasm --settings-from-env
  MQTT_GATE_SIGNATURE_KEYS=… wasmtime serve -S cli --env MQTT_GATE_SIGNATURE_KEYS gate.wasm")]
pub(crate) struct Compose {
    /// The policy, a component
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// Write the composition here
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Take the settings from variables MQTT_GATE_… of the environment, for hosts without wasi:config/store:
    /// MQTT_GATE_SIGNATURE_KEYS is the setting `signature-keys`
    #[arg(long)]
    settings_from_env: bool,
}

impl Compose {
    pub(crate) fn run(self) -> Result<()> {
        let path = &self.policy;
        let policy = fs::read(path).map_err(|source| LoadError::Read { path: path.clone(), source })?;
        ensure!(!is_same(path, &self.output), "-o {}: this is the policy itself", self.output.display());
        let sandbox = Sandbox::new(Limits::default()).map_err(ServeError::Sandbox)?;
        let composition = compose(&sandbox, &policy, self.settings_from())
            .with_context(|| format!("cannot compose {}", path.display()))?;
        write_whole(&self.output, &composition.bytes)
            .with_context(|| format!("cannot write {}", self.output.display()))?;
        Ok(self.report(&policy, &composition)?)
    }

    fn settings_from(&self) -> SettingsFrom {
        if self.settings_from_env { SettingsFrom::Environment } else { SettingsFrom::Host }
    }

    /// Says what was written, on standard output.
    fn report(&self, policy: &[u8], composition: &Composition) -> Result<(), PrintError> {
        let described = |bytes: &[u8]| format!("{} bytes, sha256 {}", bytes.len(), Digest::of(bytes));
        let settings = match self.settings_from() {
            _ if !composition.reads_settings => "it has none",
            SettingsFrom::Host => "from the wasi:config/store of the host",
            SettingsFrom::Environment => "from variables MQTT_GATE_… of the environment",
        };
        let actions = if composition.answers_for_actions { "judged by the policy" } else { "left to the broker" };
        show::text(format_args!(
            "composition: {}, {}\npolicy: {}, {}; unchanged within it\nsettings: {settings}\nactions: {actions}\nimports: {}",
            self.output.display(),
            described(&composition.bytes),
            self.policy.display(),
            described(policy),
            composition.imports.join(", ")
        ))
    }
}

/// Whether two paths lead to the same file, which is there.
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Puts the file there in one step: nobody finds half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.tmp", std::process::id()));
    let written = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&unfinished);
    }
    written
}
