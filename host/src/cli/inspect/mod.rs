//! `mqtt-gate inspect`

use std::fmt;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use mqtt_gate_engine::{ComponentInfo, ContractVersion};
use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use super::output::{self, Rows};
use super::policy_args::read_component;

mod wasi;

/// Flags of `inspect`.
#[derive(Args)]
#[command(
    after_help = "The file is neither compiled nor run, so what it claims about itself is not verified; see `check`.

Examples:
  mqtt-gate inspect policy.wasm
  mqtt-gate inspect policy.wasm --json | jq -r '.imports[].name'

Exit codes:
  0   the file is WebAssembly, whether or not the gate would accept it
  64  the file is not WebAssembly, or cannot be read"
)]
pub(crate) struct Inspect {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Output of `inspect`.
#[derive(Serialize)]
struct InspectReport<'a> {
    file: String,
    kind: &'static str,
    name: Option<&'a str>,
    /// The version of the contract that the gate would call it by.
    contract: Option<&'static str>,
    size: usize,
    sha256: String,
    exports: Vec<Export<'a>>,
    imports: Vec<Import<'a>>,
    producers: Vec<Producer<'a>>,
    metadata: Vec<Metadata<'a>>,
    /// Why the gate would reject it, as far as the file shows. If empty, only `check` can tell.
    rejected_for: Vec<String>,
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
    allowed: bool,
}

#[derive(Serialize)]
struct Producer<'a> {
    field: &'a str,
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    text: &'a str,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let file = self.file.display().to_string();
        let bytes = read_component(&self.file)?;
        let info = ComponentInfo::parse(&bytes).with_context(|| format!("{file}: not WebAssembly"))?;
        output::print(&InspectReport::new(file, &info), self.json)?;
        Ok(Exit::Ok)
    }
}

impl<'a> InspectReport<'a> {
    fn new(file: String, info: &'a ComponentInfo) -> Self {
        let exports = info.exports.iter();
        let imports = info.imports.iter();
        let producers = info.producers.iter();
        Self {
            file,
            kind: if info.is_component { "component" } else { "module" },
            name: info.name.as_deref(),
            contract: info.contract().map(ContractVersion::name),
            size: info.size,
            sha256: info.digest.to_string(),
            exports: exports.map(|name| Export { name, meaning: wasi::describe_export(name) }).collect(),
            imports: imports
                .map(|it| Import {
                    name: &it.name,
                    capability: wasi::describe_import(&it.name),
                    allowed: it.is_allowed,
                })
                .collect(),
            producers: producers
                .map(|it| Producer { field: &it.field, name: &it.name, version: &it.version })
                .collect(),
            metadata: info.metadata.iter().map(|(name, text)| Metadata { name, text }).collect(),
            rejected_for: info.rejection_reasons(),
        }
    }
}

impl fmt::Display for InspectReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { file, kind, size, .. } = self;
        let mut rows = Rows::new(9);
        rows.add("sha256", &self.sha256);
        if let Some(contract) = self.contract {
            rows.add("contract", contract);
        }
        rows.add_all("exports", self.exports.iter().map(|it| format!("{}: {}", it.name, it.meaning)));
        rows.add_all("imports", &self.imports);
        rows.add_all("made with", &self.producers);
        rows.add_all("metadata", self.metadata.iter().map(|it| format!("{}: {}", it.name, it.text)));
        rows.add_all("REJECTED", &self.rejected_for);
        if self.rejected_for.is_empty() {
            rows.add("verdict", "no static objections; run `mqtt-gate check`");
        }
        write!(f, "{file}: {}, a {kind} of {size} bytes\n{rows}", self.name.unwrap_or("unnamed"))
    }
}

impl fmt::Display for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { name, capability, allowed } = self;
        write!(f, "{name}: {capability}{}", if *allowed { "" } else { " (not allowed)" })
    }
}

impl fmt::Display for Producer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { field, name, version } = self;
        let space = if version.is_empty() { "" } else { " " };
        write!(f, "{name}{space}{version} ({field})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> InspectReport<'static> {
        InspectReport {
            file: "p.wasm".to_owned(),
            kind: "component",
            name: None,
            contract: Some("0.2"),
            size: 8,
            sha256: "00".to_owned(),
            exports: vec![Export { name: "a:b/c@1.0.0", meaning: "not used by this gate" }],
            imports: vec![
                Import { name: "wasi:config/store@0.2.0-rc.1", capability: "reads its settings", allowed: true },
                Import { name: "wasi:sockets/tcp@0.2.0", capability: "the network", allowed: false },
            ],
            producers: vec![Producer { field: "language", name: "Rust", version: "" }],
            metadata: vec![Metadata { name: "version", text: "1" }],
            rejected_for: Vec::new(),
        }
    }

    #[test]
    fn text_lists_what_the_file_contains() {
        let expected = "\
p.wasm: unnamed, a component of 8 bytes
sha256     00
contract   0.2
exports    a:b/c@1.0.0: not used by this gate
imports    wasi:config/store@0.2.0-rc.1: reads its settings
           wasi:sockets/tcp@0.2.0: the network (not allowed)
made with  Rust (language)
metadata   version: 1
verdict    no static objections; run `mqtt-gate check`";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn rejection_reasons_replace_the_verdict() {
        let text = InspectReport { rejected_for: vec!["one".to_owned(), "two".to_owned()], ..report() }.to_string();
        assert!(text.ends_with("\nREJECTED   one\n           two") && !text.contains("verdict"), "{text}");
    }
}
