//! What a file holds, told without compiling it or running anything of it.

use wasmparser::{ComponentName, CustomSectionReader, KnownCustom, Parser, Payload};

use super::component::{AUTHENTICATOR, Digest};
use crate::util::sanitize;
use crate::policy::sandbox::Sandbox;

/// The most characters that are shown of a name in the file.
const MOST_SHOWN: usize = 128;

/// More names than anybody reads.
const MOST_NAMES: usize = 256;

/// Custom sections that hold a text about the component.
const LABELS: [&str; 7] = ["version", "description", "authors", "licenses", "source", "homepage", "revision"];

/// What a WebAssembly file says of itself. Every name in it is escaped and cut, and none of it is verified: whether a
/// policy fits the contract and works, only loading it shows.
pub struct Anatomy {
    /// Whether it is a component, or a bare module.
    pub is_component: bool,
    /// The name in its own name section.
    pub name: Option<String>,
    /// What tells it from others.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: usize,
    /// What it exports, interfaces with their versions.
    pub exports: Vec<String>,
    /// What it asks for.
    pub imports: Vec<Import>,
    /// The languages and tools that it was made with, in their own words.
    pub producers: Vec<Producer>,
    /// What its makers say of it, such as its version or licence.
    pub labels: Vec<(&'static str, String)>,
    /// Why it cannot be read to its end.
    pub broken: Option<String>,
}

/// Something that a component asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name.
    pub name: String,
    /// Whether the gate gives it to a policy.
    pub is_offered: bool,
}

/// A language or a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// `language`, `sdk` or `processed-by`.
    pub field: String,
    /// Its name.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
}

impl Anatomy {
    /// Reads a file, as far as it can be read. `None`: it is not WebAssembly.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let is_component = Parser::is_component(bytes);
        if !is_component && !Parser::is_core_wasm(bytes) {
            return None;
        }
        let mut anatomy = Self {
            is_component,
            name: None,
            digest: Digest::of(bytes),
            size: bytes.len(),
            exports: Vec::new(),
            imports: Vec::new(),
            producers: Vec::new(),
            labels: Vec::new(),
            broken: None,
        };
        if let Err(error) = anatomy.read(bytes) {
            anatomy.broken = Some(sanitize::escaped(error.message(), MOST_SHOWN));
        }
        Some(anatomy)
    }

    /// Why the gate would refuse it, as far as that can be seen from outside.
    #[must_use]
    pub fn objections(&self) -> Vec<String> {
        let mut objections = Vec::new();
        if !self.is_component {
            objections.push("a core WebAssembly module and not a component".to_owned());
        }
        if let Some(broken) = &self.broken {
            objections.push(format!("not whole: {broken}"));
        }
        for import in self.imports.iter().filter(|import| !import.is_offered) {
            objections.push(format!("imports {}", import.name));
        }
        if self.is_component && !self.exports.iter().any(|name| name == AUTHENTICATOR) {
            objections.push(format!("does not export {AUTHENTICATOR}"));
        }
        objections
    }

    fn read(&mut self, bytes: &[u8]) -> wasmparser::Result<()> {
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) => self.read_custom(&section, depth),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        self.import(import?.name.name);
                    }
                }
                Payload::ImportSection(imports) if depth == 0 => {
                    for import in imports.into_imports() {
                        self.import(import?.module);
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        put(&mut self.exports, shown(export?.name.name));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn import(&mut self, name: &str) {
        put(&mut self.imports, Import { name: shown(name), is_offered: Sandbox::offers(name) });
    }

    /// What the parts of a component were made with counts too; its name and labels are its own.
    fn read_custom(&mut self, section: &CustomSectionReader, depth: u32) {
        match section.as_known() {
            KnownCustom::Producers(fields) => {
                for field in fields.into_iter().map_while(Result::ok) {
                    for value in field.values.into_iter().map_while(Result::ok) {
                        let (name, version) = (shown(value.name), shown(value.version));
                        put(&mut self.producers, Producer { field: field.name.to_owned(), name, version });
                    }
                }
            }
            KnownCustom::ComponentName(mut names) if depth == 0 => {
                if let Some(Ok(ComponentName::Component { name, .. })) = names.next() {
                    self.name = Some(shown(name));
                }
            }
            _ if depth == 0 => {
                let label = LABELS.into_iter().find(|label| *label == section.name());
                if let (Some(label), Ok(text)) = (label, str::from_utf8(section.data())) {
                    put(&mut self.labels, (label, shown(text)));
                }
            }
            _ => {}
        }
    }
}

/// Adds what is not there yet, up to a bound.
fn put<T: PartialEq>(list: &mut Vec<T>, one: T) {
    if list.len() < MOST_NAMES && !list.contains(&one) {
        list.push(one);
    }
}

fn shown(text: &str) -> String {
    sanitize::escaped(text, MOST_SHOWN)
}
