//! `mqtt-gate compose`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use mqtt_gate::compose::{Composition, SettingsFrom, compose};
use mqtt_gate::config::Limits;
use mqtt_gate_engine::{Digest, Sandbox};

use super::error::CliError;
use super::exit::Exit;
use super::output;
use super::temp_file::write_beside;

/// Mode of a new file, before the umask.
const FILE_MODE: u32 = 0o666;

/// Flags of `compose`.
#[derive(Args)]
#[command(after_help = "Examples:
  mqtt-gate compose policy.wasm -o gate.wasm --settings-from-env
  MQTT_GATE_SIGNATURE_KEYS=… wasmtime serve -S cli --env MQTT_GATE_SIGNATURE_KEYS gate.wasm")]
pub(crate) struct Compose {
    /// The policy, a component
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// Write the composed component to this file
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Read settings from environment variables MQTT_GATE_…, for hosts without wasi:config/store:
    /// MQTT_GATE_SIGNATURE_KEYS is the setting `signature-keys`
    #[arg(long)]
    settings_from_env: bool,
}

impl Compose {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let (path, output) = (self.policy.display(), self.output.display());
        let policy = fs::read(&self.policy).with_context(|| format!("cannot read {path}"))?;
        self.check_output()?;
        let sandbox = Sandbox::new(Limits::default().engine())?;
        let composition =
            compose(&sandbox, &policy, self.settings_from()).with_context(|| format!("cannot compose {path}"))?;
        write_atomic(&self.output, &composition.bytes).with_context(|| format!("cannot write {output}"))?;
        output::print_text(self.report(&policy, &composition))?;
        Ok(Exit::Ok)
    }

    fn check_output(&self) -> anyhow::Result<()> {
        ensure!(!same_file(&self.policy, &self.output), "-o {}: this is the policy itself", self.output.display());
        Ok(())
    }

    fn settings_from(&self) -> SettingsFrom {
        if self.settings_from_env { SettingsFrom::Environment } else { SettingsFrom::Host }
    }

    fn report(&self, policy: &[u8], composition: &Composition) -> String {
        let describe = |bytes: &[u8]| format!("{} bytes, sha256 {}", bytes.len(), Digest::of(bytes));
        let settings = match self.settings_from() {
            _ if !composition.reads_settings => "none",
            SettingsFrom::Host => "from wasi:config/store of the host",
            SettingsFrom::Environment => "from environment variables MQTT_GATE_…",
        };
        let actions = if composition.has_authorizer { "evaluated by the policy" } else { "left to the broker" };
        format!(
            "composition: {}, {}\npolicy: {}, {}, contract {}; embedded unchanged\nsettings: {settings}\nactions: {actions}\nimports: {}",
            self.output.display(),
            describe(&composition.bytes),
            self.policy.display(),
            describe(policy),
            composition.contract,
            composition.imports.join(", ")
        )
    }
}

/// Whether two paths name the same existing file.
fn same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_beside(path, bytes, FILE_MODE)?.persist(path)?;
    Ok(())
}
