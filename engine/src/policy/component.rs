//! A component on its way to a policy: compiled, with its imports and exports checked.

use std::fmt;

use sha2::{Digest as _, Sha256};
use wasmtime::component::{InstancePre, types::ComponentItem};

use super::LoadError;
use super::compiler::CompileControl;
use super::instance_pool::PolicyPre;
use super::prescreen;
use super::sandbox::bindings::exports::mqtt_gate::auth::{authenticator, authorizer};
use super::sandbox::{HostState, Sandbox};
use crate::util::sanitize;

/// Interface that every policy exports.
pub const AUTHENTICATOR: &str = "mqtt-gate:auth/authenticator@0.1.0";

/// Interface that a policy exports to judge publish and subscribe requests.
pub const AUTHORIZER: &str = "mqtt-gate:auth/authorizer@0.1.0";

/// Maximum number of characters of a name in an error.
const MAX_NAME_CHARS: usize = 100;

/// SHA-256 of a component. It identifies a version of a policy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

/// Compiles and links a component. Checks that it fits the contract and imports nothing else.
pub(super) fn link(sandbox: &Sandbox, bytes: &[u8], control: &CompileControl) -> Result<PolicyPre, LoadError> {
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err(LoadError::CoreModule);
    }
    prescreen::check(bytes, sandbox.limits().max_memory)?;
    let component = sandbox.compile(bytes, control)?;
    let ty = component.component_type();
    let export = |name| ty.get_export(sandbox.engine(), name).map(|export| export.ty);
    if !matches!(export(AUTHENTICATOR), Some(ComponentItem::ComponentInstance(_))) {
        let interface = AUTHENTICATOR.split('@').next().unwrap_or_default();
        let other = ty.exports(sandbox.engine()).map(|(name, _)| name).find(|name| name.starts_with(interface));
        return Err(LoadError::NotAPolicy(other.map(|name| sanitize::escape(name, MAX_NAME_CHARS))));
    }
    let component: InstancePre<HostState> = sandbox.linker().instantiate_pre(&component).map_err(LoadError::Link)?;
    let mismatch = |contract| move |source| LoadError::Contract { contract, source };
    Ok(PolicyPre {
        authenticator: authenticator::GuestIndices::new(&component).map_err(mismatch(AUTHENTICATOR))?,
        // An authorizer of another type is an error. It must not be treated like a missing one.
        authorizer: export(AUTHORIZER)
            .map(|_| authorizer::GuestIndices::new(&component).map_err(mismatch(AUTHORIZER)))
            .transpose()?,
        component,
    })
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
