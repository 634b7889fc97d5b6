//! Composition of a policy with adapters into one component that answers brokers in any host of `wasi:http`.
//!
//! ```text
//! wasi:http ◄─ http-adapter ─► policy ─► wasi:config/store of the host, or settings-from-env
//!                   └─► authorizer of the policy, or no-authorizer
//! ```
//!
//! The policy is embedded byte for byte, so its digest is the one that the native host shows.

use std::error::Error;

use mqtt_gate_engine::{AUTHENTICATOR, AUTHORIZER, ComponentInfo, LoadError, Sandbox, validate};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};

static HTTP_ADAPTER: &[u8] = include_bytes!(env!("MQTT_GATE_HTTP_ADAPTER"));
static NO_AUTHORIZER: &[u8] = include_bytes!(env!("MQTT_GATE_NO_AUTHORIZER"));
static SETTINGS_FROM_ENV: &[u8] = include_bytes!(env!("MQTT_GATE_SETTINGS_FROM_ENV"));

/// Export of the composition, which hosts call for each request.
const INCOMING_HANDLER: &str = "wasi:http/incoming-handler@0.2.0";

/// Import through which a policy reads its settings.
const CONFIG_STORE: &str = "wasi:config/store@0.2.0-rc.1";

/// Where a composed policy finds its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsFrom {
    /// In `wasi:config/store` of the host.
    Host,
    /// In environment variables `MQTT_GATE_…`.
    Environment,
}

/// A component that answers brokers by a policy.
pub struct Composition {
    /// The component.
    pub bytes: Vec<u8>,
    /// Names of the imports that a host must supply.
    pub imports: Vec<String>,
    /// Whether the policy exports the authorizer interface.
    pub has_authorizer: bool,
    /// Whether the policy reads settings.
    pub reads_settings: bool,
}

/// A policy that cannot be composed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The component is not a policy that the native host would load.
    #[error(transparent)]
    Policy(#[from] LoadError),
    /// The policy does not fit the adapters.
    #[error("the policy cannot be composed")]
    Graph(#[source] Box<dyn Error + Send + Sync>),
}

/// Composes a policy with the HTTP adapter.
///
/// # Errors
/// The component is not a policy that the native host would load, or does not fit the adapter.
pub fn compose(sandbox: &Sandbox, policy: &[u8], settings: SettingsFrom) -> Result<Composition, ComposeError> {
    let has_authorizer = validate(sandbox, policy)?;
    let reads_settings = imports(policy).iter().any(|name| name == CONFIG_STORE);
    let settings_adapter = (reads_settings && settings == SettingsFrom::Environment).then_some(SETTINGS_FROM_ENV);
    let bytes = connect(policy, has_authorizer, settings_adapter).map_err(ComposeError::Graph)?;
    Ok(Composition { imports: imports(&bytes), bytes, has_authorizer, reads_settings })
}

/// Names of the imports of a component.
fn imports(component: &[u8]) -> Vec<String> {
    let info = ComponentInfo::parse(component);
    info.map(|info| info.imports.into_iter().map(|import| import.name).collect()).unwrap_or_default()
}

type GraphResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn connect(policy: &[u8], has_authorizer: bool, settings_adapter: Option<&[u8]>) -> GraphResult<Vec<u8>> {
    let mut graph = Graph::default();
    let info = ComponentInfo::parse(policy);
    // A policy may export another version that is compatible.
    let exported = |interface| info.as_ref().and_then(|info| info.compatible_export(interface)).unwrap_or(interface);
    let adapter = graph.add("mqtt-gate:http-adapter", HTTP_ADAPTER)?;
    let policy = graph.add("mqtt-gate:policy", policy)?;
    let authorizer = if has_authorizer { policy } else { graph.add("mqtt-gate:no-authorizer", NO_AUTHORIZER)? };
    graph.connect(adapter, AUTHENTICATOR, policy, exported(AUTHENTICATOR))?;
    if has_authorizer {
        graph.connect(adapter, AUTHORIZER, policy, exported(AUTHORIZER))?;
    } else {
        graph.connect(adapter, AUTHORIZER, authorizer, AUTHORIZER)?;
        // The authorizer interface uses types of the authenticator interface.
        graph.connect(authorizer, AUTHENTICATOR, policy, exported(AUTHENTICATOR))?;
    }
    if let Some(settings_adapter) = settings_adapter {
        let settings = graph.add("mqtt-gate:settings-from-env", settings_adapter)?;
        graph.connect(policy, CONFIG_STORE, settings, CONFIG_STORE)?;
    }
    graph.into_component(adapter)
}

/// Instances of components and their connections.
#[derive(Default)]
struct Graph(CompositionGraph);

impl Graph {
    /// Adds an instance of a component. Imports that stay unconnected become imports of the composition.
    fn add(&mut self, name: &str, component: &[u8]) -> GraphResult<NodeId> {
        let package = Package::from_bytes(name, None, component, self.0.types_mut())?;
        let package = self.0.register_package(package)?;
        Ok(self.0.instantiate(package))
    }

    /// Connects an import of one instance to the export of another.
    fn connect(&mut self, importer: NodeId, import: &str, exporter: NodeId, export: &str) -> GraphResult<()> {
        let export = self.0.alias_instance_export(exporter, export)?;
        Ok(self.0.set_instantiation_argument(importer, import, export)?)
    }

    /// Encodes the composition, which exports the handler of this instance.
    fn into_component(mut self, front: NodeId) -> GraphResult<Vec<u8>> {
        let handler = self.0.alias_instance_export(front, INCOMING_HANDLER)?;
        self.0.export(handler, INCOMING_HANDLER)?;
        Ok(self.0.encode(EncodeOptions::default())?)
    }
}
