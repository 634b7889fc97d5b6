//! One component out of a policy and what it takes to answer brokers behind `wasi:http`.
//!
//! ```text
//! wasi:http ◄─ http-adapter ─► the policy ─► wasi:config/store, the host's or settings-from-env
//!                   └─► its authorizer, or no-authorizer if it has none
//! ```
//!
//! The policy lies in it byte for byte, so that its digest is the one that the native host shows; nothing strips what
//! comes out.

use std::error::Error;

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};
use wasmparser::{BinaryReaderError, Parser, Payload};

use mqtt_gate_engine::policy::{AUTHENTICATOR, AUTHORIZER, LoadError, examine};
use mqtt_gate_engine::policy::sandbox::Sandbox;

static HTTP_ADAPTER: &[u8] = include_bytes!(env!("MQTT_GATE_HTTP_ADAPTER"));
static NO_AUTHORIZER: &[u8] = include_bytes!(env!("MQTT_GATE_NO_AUTHORIZER"));
static SETTINGS_FROM_ENV: &[u8] = include_bytes!(env!("MQTT_GATE_SETTINGS_FROM_ENV"));

/// What the composition is asked by.
const HANDLER: &str = "wasi:http/incoming-handler@0.2.0";

/// What a policy reads its settings from.
const STORE: &str = "wasi:config/store@0.2.0-rc.1";

/// Where the policy of a composition finds its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsFrom {
    /// In the `wasi:config/store` of the host that runs it.
    Host,
    /// In variables `MQTT_GATE_…` of the environment.
    Environment,
}

/// A component that answers brokers by a policy.
pub struct Composition {
    /// The component.
    pub bytes: Vec<u8>,
    /// What it asks of the host that runs it.
    pub imports: Vec<String>,
    /// Whether its policy answers for single actions itself.
    pub answers_for_actions: bool,
    /// Whether its policy has settings at all.
    pub reads_settings: bool,
}

/// Why there is no composition.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// It is no policy, or one that the native host would not take either.
    #[error(transparent)]
    Policy(#[from] LoadError),
    /// The parts do not go together.
    #[error("the policy cannot be composed")]
    Graph(#[source] Box<dyn Error + Send + Sync>),
}

/// Puts a policy behind HTTP.
///
/// # Errors
/// The component is none that the native host would put in service, or it does not fit the adapter.
pub fn compose(sandbox: &Sandbox, policy: &[u8], settings: SettingsFrom) -> Result<Composition, ComposeError> {
    let answers_for_actions = examine(sandbox, policy)?;
    let graph = |error: BinaryReaderError| ComposeError::Graph(error.into());
    let reads_settings = imports(policy).map_err(graph)?.iter().any(|name| name == STORE);
    let provider = (reads_settings && settings == SettingsFrom::Environment).then_some(SETTINGS_FROM_ENV);
    let bytes = wire(policy, answers_for_actions, provider).map_err(ComposeError::Graph)?;
    let imports = imports(&bytes).map_err(graph)?;
    Ok(Composition { bytes, imports, answers_for_actions, reads_settings })
}

type Wired<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn wire(policy: &[u8], answers_for_actions: bool, provider: Option<&[u8]>) -> Wired<Vec<u8>> {
    let mut parts = Parts::default();
    let adapter = parts.add("mqtt-gate:http-adapter", HTTP_ADAPTER)?;
    let policy = parts.add("mqtt-gate:policy", policy)?;
    let authorizer = if answers_for_actions { policy } else { parts.add("mqtt-gate:no-authorizer", NO_AUTHORIZER)? };
    parts.connect(adapter, AUTHENTICATOR, policy)?;
    parts.connect(adapter, AUTHORIZER, authorizer)?;
    if authorizer != policy {
        // For the types that the two interfaces share.
        parts.connect(authorizer, AUTHENTICATOR, policy)?;
    }
    if let Some(provider) = provider {
        let provider = parts.add("mqtt-gate:settings-from-env", provider)?;
        parts.connect(policy, STORE, provider)?;
    }
    parts.into_component(adapter)
}

/// The parts of a composition, and what they are to each other.
#[derive(Default)]
struct Parts(CompositionGraph);

impl Parts {
    /// Adds a component. What it imports and is not connected, the composition imports.
    fn add(&mut self, name: &str, component: &[u8]) -> Wired<NodeId> {
        let package = Package::from_bytes(name, None, component, self.0.types_mut())?;
        let package = self.0.register_package(package)?;
        Ok(self.0.instantiate(package))
    }

    /// Has one part import what another exports.
    fn connect(&mut self, part: NodeId, interface: &str, other: NodeId) -> Wired<()> {
        let exported = self.0.alias_instance_export(other, interface)?;
        Ok(self.0.set_instantiation_argument(part, interface, exported)?)
    }

    /// Puts them together, to be asked through this one.
    fn into_component(mut self, front: NodeId) -> Wired<Vec<u8>> {
        let handler = self.0.alias_instance_export(front, HANDLER)?;
        self.0.export(handler, HANDLER)?;
        Ok(self.0.encode(EncodeOptions::default())?)
    }
}

/// What a component asks of its host, as its names.
fn imports(component: &[u8]) -> Result<Vec<String>, BinaryReaderError> {
    let mut names = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.push(import?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}
