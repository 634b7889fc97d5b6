//! A component on its way to a policy: compiled, with its imports and exports checked.

use std::fmt;

use sha2::{Digest as _, Sha256};
use wasmtime::component::{InstancePre, types::ComponentItem};

use super::LoadError;
use super::compiler::CompileControl;
use super::contract::{self, ContractVersion, ExportIndices, OptionalExports};
use super::instance_pool::PolicyPre;
use super::prescreen;
use super::sandbox::{HostState, Sandbox};
use crate::util::sanitize;

/// Maximum number of characters of a name in an error.
const MAX_NAME_CHARS: usize = 100;

/// SHA-256 of a component. It identifies a version of a policy.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// Compiles and links a component. Checks that it fits the contract and imports nothing else.
pub(super) fn link(sandbox: &Sandbox, bytes: &[u8], control: &CompileControl) -> Result<PolicyPre, LoadError> {
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err(LoadError::CoreModule);
    }
    prescreen::check(bytes, sandbox.limits().max_memory)?;
    let component = sandbox.compile(bytes, control)?;
    let ty = component.component_type();
    let engine = sandbox.engine();
    let is_instance = |item: &ComponentItem| matches!(item, ComponentItem::ComponentInstance(_));
    let instances: Vec<&str> =
        ty.exports(engine).filter(|(_, export)| is_instance(&export.ty)).map(|(name, _)| name).collect();
    let exports = || instances.iter().copied();
    let shown = |version: &str| sanitize::escape(version, MAX_NAME_CHARS);
    let contract = ContractVersion::of(exports())
        .ok_or_else(|| LoadError::NotAPolicy(contract::built_against(exports()).map(shown)))?;
    if let Some(authorizer) = contract::foreign_authorizer(exports(), contract) {
        return Err(LoadError::ForeignAuthorizer { contract, authorizer: shown(authorizer) });
    }
    let optional = OptionalExports::of(exports(), contract);
    let uses_keyrings = ty.imports(engine).any(|(name, _)| contract::is_keyring(name));
    let component: InstancePre<HostState> = sandbox.linker().instantiate_pre(&component).map_err(LoadError::Link)?;
    Ok(PolicyPre { exports: ExportIndices::new(&component, contract, optional)?, component, uses_keyrings })
}

impl Digest {
    /// Hashes these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
