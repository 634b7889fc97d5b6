//! `mqtt-gate inspect`

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use mqtt_gate::policy::Anatomy;
use serde::Serialize;

use super::capability::{given, provided};
use super::exit::Exit;
use super::show;
use super::with::component;

/// The flags of `inspect`.
#[derive(Args)]
#[command(
    after_help = "Nothing of the file is run or compiled, so what it says of itself is not verified; `check` does that.

Examples:
  mqtt-gate inspect policy.wasm
  mqtt-gate inspect policy.wasm --json | jq -r '.imports[].name'

Exit codes:
  0   it is WebAssembly, whatever the gate would make of it
  64  it is not, or cannot be read"
)]
pub(crate) struct Inspect {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Serialize)]
struct Inspected<'a> {
    file: String,
    kind: &'static str,
    name: Option<&'a str>,
    size: usize,
    sha256: String,
    exports: Vec<Export<'a>>,
    imports: Vec<Import<'a>>,
    producers: Vec<Producer<'a>>,
    labels: Vec<Label<'a>>,
    /// Why the gate would refuse it, as far as that shows. Empty: only `check` can tell.
    refused_for: Vec<String>,
}

#[derive(Serialize)]
struct Export<'a> {
    name: &'a str,
    meaning: &'static str,
}

#[derive(Serialize)]
struct Import<'a> {
    name: &'a str,
    capability: &'static str,
    offered: bool,
}

#[derive(Serialize)]
struct Producer<'a> {
    field: &'a str,
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
struct Label<'a> {
    name: &'a str,
    text: &'a str,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<Exit> {
        let path = self.file;
        let bytes = component(&path)?;
        let anatomy = Anatomy::of(&bytes).with_context(|| format!("{}: not WebAssembly", path.display()))?;
        let inspected = Inspected::of(path.display().to_string(), &anatomy);
        if self.json {
            show::json(&inspected)?
        } else {
            show::text(inspected.lines())?
        }
        Ok(Exit::Yes)
    }
}

impl<'a> Inspected<'a> {
    fn of(file: String, anatomy: &'a Anatomy) -> Self {
        let export = |name: &'a String| Export { name, meaning: provided(name) };
        Self {
            file,
            kind: if anatomy.is_component { "component" } else { "module" },
            name: anatomy.name.as_deref(),
            size: anatomy.size,
            sha256: anatomy.digest.to_string(),
            exports: anatomy.exports.iter().map(export).collect(),
            imports: anatomy.imports.iter().map(Import::from).collect(),
            producers: anatomy.producers.iter().map(Producer::from).collect(),
            labels: anatomy.labels.iter().map(|(name, text)| Label { name, text }).collect(),
            refused_for: anatomy.objections(),
        }
    }

    fn lines(&self) -> String {
        let Self { file, kind, size, sha256, .. } = self;
        let name = self.name.unwrap_or("unnamed");
        let mut lines = vec![format!("{file}: {name}, a {kind} of {size} bytes"), format!("sha256    {sha256}")];
        let mut told = |what: &str, texts: Vec<String>| {
            for (at, text) in texts.into_iter().enumerate() {
                lines.push(format!("{:9} {text}", if at == 0 { what } else { "" }));
            }
        };
        told("exports", self.exports.iter().map(|one| format!("{}: {}", one.name, one.meaning)).collect());
        told("imports", self.imports.iter().map(Import::line).collect());
        told("made with", self.producers.iter().map(Producer::line).collect());
        told("says", self.labels.iter().map(|one| format!("{}: {}", one.name, one.text)).collect());
        if self.refused_for.is_empty() {
            told("verdict", vec!["nothing against it from outside; `mqtt-gate check` loads it".to_owned()]);
        } else {
            told("REFUSED", self.refused_for.clone());
        }
        lines.join("\n")
    }
}

impl Import<'_> {
    fn line(&self) -> String {
        let Self { name, capability, offered } = self;
        let refused = if *offered { "" } else { " — refused by this gate" };
        format!("{name}: {capability}{refused}")
    }
}

impl Producer<'_> {
    fn line(&self) -> String {
        format!("{} {} ({})", self.name, self.version, self.field).replace("  ", " ")
    }
}

impl<'a> From<&'a mqtt_gate::policy::Import> for Import<'a> {
    fn from(import: &'a mqtt_gate::policy::Import) -> Self {
        Self { name: &import.name, capability: given(&import.name), offered: import.is_offered }
    }
}

impl<'a> From<&'a mqtt_gate::policy::Producer> for Producer<'a> {
    fn from(producer: &'a mqtt_gate::policy::Producer) -> Self {
        Self { field: &producer.field, name: &producer.name, version: &producer.version }
    }
}
