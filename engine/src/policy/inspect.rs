//! Static information about a WebAssembly file, read without compiling or running it.

use wasmparser::{ComponentName, CustomSectionReader, KnownCustom, Name, Parser, Payload};

use super::component::Digest;
use super::contract::{self, AUTHENTICATOR, ContractVersion};
use super::error::unserved_contract;
use super::sandbox::Sandbox;
use crate::util::sanitize;

/// Maximum number of characters of a name in the file.
const MAX_NAME_CHARS: usize = 128;

/// Maximum number of characters of a policy's name in logs and metrics.
const MAX_POLICY_NAME_CHARS: usize = 64;

/// Maximum number of entries in each list. A file could name millions.
const MAX_ENTRIES: usize = 256;

/// Custom sections that hold metadata as text, as `wasm-tools metadata` writes them.
const METADATA_SECTIONS: [&str; 7] =
    ["version", "description", "authors", "licenses", "source", "homepage", "revision"];

/// Static information about a WebAssembly file.
///
/// Every text is escaped and truncated, and none of it is verified: only loading a policy shows whether it works.
pub struct ComponentInfo {
    /// Whether the file is a component, and not a core module.
    pub is_component: bool,
    /// Name in the component's name section.
    pub name: Option<String>,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size in bytes.
    pub size: usize,
    /// Exported interfaces and functions.
    pub exports: Vec<String>,
    /// Imported interfaces and functions.
    pub imports: Vec<Import>,
    /// Languages and tools that made the file.
    pub producers: Vec<Producer>,
    /// Metadata such as version and licence: the name of the section and its text.
    pub metadata: Vec<(&'static str, String)>,
    /// Why the file cannot be parsed to its end.
    pub parse_error: Option<String>,
}

/// An import of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Name of the interface, with its version.
    pub name: String,
    /// Whether a policy may import it.
    pub is_allowed: bool,
}

/// A language or a tool that made the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// `language`, `sdk` or `processed-by`.
    pub field: String,
    /// Name of the language or tool.
    pub name: String,
    /// Its version. May be empty.
    pub version: String,
}

impl ComponentInfo {
    /// Parses a file as far as possible. Returns `None` if it is not WebAssembly.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let is_component = Parser::is_component(bytes);
        if !is_component && !Parser::is_core_wasm(bytes) {
            return None;
        }
        let mut info = Self {
            is_component,
            name: None,
            digest: Digest::of(bytes),
            size: bytes.len(),
            exports: Vec::new(),
            imports: Vec::new(),
            producers: Vec::new(),
            metadata: Vec::new(),
            parse_error: None,
        };
        if let Err(error) = visit_sections(bytes, |payload, depth| info.add(payload, depth)) {
            info.parse_error = Some(name_text(error.message()));
        }
        info.name = info.name.or_else(|| component_name(bytes));
        Some(info)
    }

    /// The export of this interface in a compatible version.
    #[must_use]
    pub fn compatible_export(&self, interface: &str) -> Option<&str> {
        contract::find(self.export_names(), interface)
    }

    /// The version of the contract that a gate would call the policy by. `None`: it serves none that the file exports.
    #[must_use]
    pub fn contract(&self) -> Option<ContractVersion> {
        ContractVersion::of(self.export_names())
    }

    fn export_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.exports.iter().map(String::as_str)
    }

    /// Reasons why the gate would reject the file, as far as they show without loading it.
    #[must_use]
    pub fn rejection_reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.is_component {
            reasons.push("this is a core WebAssembly module, not a component".to_owned());
        }
        if let Some(error) = &self.parse_error {
            reasons.push(format!("the file is damaged: {error}"));
        }
        for import in self.imports.iter().filter(|import| !import.is_allowed) {
            reasons.push(format!("imports {}", import.name));
        }
        match self.contract() {
            _ if !self.is_component => {}
            None => reasons.push(match contract::built_against(self.export_names()) {
                Some(version) => unserved_contract(version),
                None => format!("does not export {AUTHENTICATOR}"),
            }),
            Some(contract) => {
                if let Some(version) = contract::foreign_authorizer(self.export_names(), contract) {
                    reasons
                        .push(format!("has the authenticator of contract {contract} and the authorizer of {version}"));
                }
            }
        }
        reasons
    }

    fn add(&mut self, payload: Payload, depth: u32) -> wasmparser::Result<()> {
        match payload {
            Payload::CustomSection(section) => self.add_custom(&section, depth),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    self.add_import(import?.name.name);
                }
            }
            Payload::ImportSection(imports) if depth == 0 => {
                for import in imports.into_imports() {
                    self.add_import(import?.module);
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    add_once(&mut self.exports, name_text(export?.name.name));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_import(&mut self, name: &str) {
        let is_allowed = Sandbox::is_allowed_import(name);
        add_once(&mut self.imports, Import { name: name_text(name), is_allowed });
    }

    /// Producers of nested parts count too. The name and the metadata are those of the file itself.
    fn add_custom(&mut self, section: &CustomSectionReader, depth: u32) {
        match section.as_known() {
            KnownCustom::Producers(fields) => {
                for field in fields.into_iter().map_while(Result::ok) {
                    for value in field.values.into_iter().map_while(Result::ok) {
                        let (name, version) = (name_text(value.name), name_text(value.version));
                        add_once(&mut self.producers, Producer { field: field.name.to_owned(), name, version });
                    }
                }
            }
            KnownCustom::ComponentName(mut names) if depth == 0 => {
                if let Some(Ok(ComponentName::Component { name, .. })) = names.next() {
                    self.name = Some(name_text(name));
                }
            }
            _ if depth == 0 => {
                let known = METADATA_SECTIONS.into_iter().find(|known| *known == section.name());
                if let (Some(known), Ok(text)) = (known, str::from_utf8(section.data())) {
                    add_once(&mut self.metadata, (known, name_text(text)));
                }
            }
            _ => {}
        }
    }
}

/// Returns the name in the component's own name section, or else that of its first module, which compilers set.
pub(super) fn component_name(component: &[u8]) -> Option<String> {
    let (mut found, mut module) = (None, None);
    // A damaged tail is for the compiler to report.
    let _ = visit_sections(component, |payload, depth| {
        if let Payload::CustomSection(section) = &payload
            && depth == 0
            && let KnownCustom::ComponentName(mut names) = section.as_known()
            && let Some(Ok(ComponentName::Component { name, .. })) = names.next()
        {
            found.get_or_insert_with(|| sanitize::escape(name, MAX_POLICY_NAME_CHARS));
        }
        if let Payload::CustomSection(section) = &payload
            && depth == 1
            && let KnownCustom::Name(mut names) = section.as_known()
            && let Some(Ok(Name::Module { name, .. })) = names.next()
            && !name.is_empty()
            && !name.starts_with(ADAPTER_PREFIX)
        {
            let name = name.strip_suffix(".wasm").unwrap_or(name);
            module.get_or_insert_with(|| sanitize::escape(name, MAX_POLICY_NAME_CHARS));
        }
        Ok(())
    });
    found.or(module)
}

/// Names of the modules that `wit-component` adds begin with this.
const ADAPTER_PREFIX: &str = "wit-component";

/// Visits the sections of a file and of its nested modules and components. The file itself has depth 0.
fn visit_sections(
    bytes: &[u8],
    mut visit: impl FnMut(Payload, u32) -> wasmparser::Result<()>,
) -> wasmparser::Result<()> {
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            payload => visit(payload, depth)?,
        }
    }
    Ok(())
}

/// Adds an entry once, up to [`MAX_ENTRIES`].
fn add_once<T: PartialEq>(entries: &mut Vec<T>, entry: T) {
    if entries.len() < MAX_ENTRIES && !entries.contains(&entry) {
        entries.push(entry);
    }
}

fn name_text(text: &str) -> String {
    sanitize::escape(text, MAX_NAME_CHARS)
}
