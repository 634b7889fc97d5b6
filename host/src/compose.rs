//! Composition of a policy with adapters into one component that answers brokers in any host of `wasi:http`.
//!
//! ```text
//! wasi:http ◄─ http-adapter ─► policy ─► wasi:config/store of the host, or settings-from-env
//!                   └─► authorizer of the policy, or no-authorizer
//! ```
//!
//! Between the HTTP adapter and a policy of contract 0.1 is the component `contract-0-1`.
//!
//! The policy is embedded byte for byte, so its digest is the one that the native host shows.

use std::error::Error;

use mqtt_gate_engine::{ComponentInfo, ContractVersion, LoadError, PolicyKind, Sandbox, validate};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};

static HTTP_ADAPTER: &[u8] = include_bytes!(env!("MQTT_GATE_HTTP_ADAPTER"));
static NO_AUTHORIZER: &[u8] = include_bytes!(env!("MQTT_GATE_NO_AUTHORIZER"));
static CONTRACT_0_1: &[u8] = include_bytes!(env!("MQTT_GATE_CONTRACT_0_1"));
static NO_AUTHORIZER_0_1: &[u8] = include_bytes!(env!("MQTT_GATE_NO_AUTHORIZER_0_1"));
static SETTINGS_FROM_ENV: &[u8] = include_bytes!(env!("MQTT_GATE_SETTINGS_FROM_ENV"));

/// Export of the composition, which hosts call for each request.
const INCOMING_HANDLER: &str = "wasi:http/incoming-handler@0.2.0";

/// Import through which a policy reads its settings.
const CONFIG_STORE: &str = "wasi:config/store@0.2.0-rc.1";

/// Import through which a policy verifies by key rings, in any version.
const KEY_RINGS: &str = "mqtt-gate:auth/keyring@";

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
    /// The contract of the policy.
    pub contract: ContractVersion,
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
    /// The policy uses key rings, which no other host supplies.
    #[error("the policy verifies by key rings, which only mqtt-gate supplies; run it with `mqtt-gate serve`")]
    KeyRings,
    /// The policy does not fit the adapters.
    #[error("the policy cannot be composed")]
    Graph(#[source] Box<dyn Error + Send + Sync>),
}

/// Composes a policy with the HTTP adapter.
///
/// # Errors
/// The component is not a policy that the native host would load, or does not fit the adapter.
pub fn compose(sandbox: &Sandbox, policy: &[u8], settings: SettingsFrom) -> Result<Composition, ComposeError> {
    let kind = validate(sandbox, policy)?;
    if imports(policy).iter().any(|name| name.starts_with(KEY_RINGS)) {
        return Err(ComposeError::KeyRings);
    }
    let reads_settings = imports(policy).iter().any(|name| name == CONFIG_STORE);
    let settings_adapter = (reads_settings && settings == SettingsFrom::Environment).then_some(SETTINGS_FROM_ENV);
    let bytes = connect(policy, kind, settings_adapter).map_err(ComposeError::Graph)?;
    let PolicyKind { contract, has_authorizer } = kind;
    Ok(Composition { imports: imports(&bytes), bytes, contract, has_authorizer, reads_settings })
}

/// Names of the imports of a component.
fn imports(component: &[u8]) -> Vec<String> {
    let info = ComponentInfo::parse(component);
    info.map(|info| info.imports.into_iter().map(|import| import.name).collect()).unwrap_or_default()
}

type GraphResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn connect(policy: &[u8], kind: PolicyKind, settings_adapter: Option<&[u8]>) -> GraphResult<Vec<u8>> {
    let mut graph = Graph::default();
    let adapter = graph.add("mqtt-gate:http-adapter", HTTP_ADAPTER)?;
    let (node, info) = (graph.add("mqtt-gate:policy", policy)?, ComponentInfo::parse(policy));
    // A policy may export another version that is compatible.
    let exported = |interface| info.as_ref().and_then(|info| info.compatible_export(interface)).unwrap_or(interface);
    match kind.contract {
        ContractVersion::V0_2 => graph.connect_policy(adapter, node, kind, exported, NO_AUTHORIZER)?,
        ContractVersion::V0_1 => {
            let contract = graph.add("mqtt-gate:contract-0-1", CONTRACT_0_1)?;
            graph.connect_policy(contract, node, kind, exported, NO_AUTHORIZER_0_1)?;
            let adapted = PolicyKind { contract: ContractVersion::V0_2, has_authorizer: true };
            graph.connect_policy(adapter, contract, adapted, |interface| interface, NO_AUTHORIZER)?;
        }
    }
    if let Some(settings_adapter) = settings_adapter {
        let settings = graph.add("mqtt-gate:settings-from-env", settings_adapter)?;
        graph.connect(node, CONFIG_STORE, settings, CONFIG_STORE)?;
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

    /// Connects the interfaces of the contract that `importer` imports to those of a policy, or `no_authorizer` in place of
    /// a missing one. `exported` is the name of an interface as the policy exports it.
    fn connect_policy<'a>(
        &mut self,
        importer: NodeId,
        policy: NodeId,
        kind: PolicyKind,
        exported: impl Fn(&'a str) -> &'a str,
        no_authorizer: &[u8],
    ) -> GraphResult<()> {
        let (authenticator, authorizer) = (kind.contract.authenticator(), kind.contract.authorizer());
        self.connect(importer, authenticator, policy, exported(authenticator))?;
        if kind.has_authorizer {
            return self.connect(importer, authorizer, policy, exported(authorizer));
        }
        let no_authorizer = self.add("mqtt-gate:no-authorizer", no_authorizer)?;
        self.connect(importer, authorizer, no_authorizer, authorizer)?;
        // The authorizer interface uses types of the authenticator interface.
        self.connect(no_authorizer, authenticator, policy, exported(authenticator))
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
