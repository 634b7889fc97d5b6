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
    let exports = || ty.exports(sandbox.engine());
    let export = |interface| exports().find(|(name, _)| is_compatible(name, interface)).map(|(_, export)| export.ty);
    if !matches!(export(AUTHENTICATOR), Some(ComponentItem::ComponentInstance(_))) {
        let (interface, _) = AUTHENTICATOR.split_once('@').unwrap_or_default();
        let other = exports().map(|(name, _)| name).find(|name| name.starts_with(interface));
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

/// Whether an export is this interface in a compatible version: before 1.0, versions that differ only in the last number
/// are (https://semver.org). wasmtime finds an export in the same way.
pub(super) fn is_compatible(export: &str, interface: &str) -> bool {
    let parts = |name: &str| {
        let (name, version) = name.split_once('@')?;
        let (minor, patch) = version.rsplit_once('.')?;
        let is_number = !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| (name.to_owned(), minor.to_owned()))
    };
    parts(export).is_some_and(|export| Some(export) == parts(interface))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_differ_in_the_last_number_are_compatible() {
        for (export, expected) in [
            ("mqtt-gate:auth/authenticator@0.1.0", true),
            ("mqtt-gate:auth/authenticator@0.1.17", true),
            ("mqtt-gate:auth/authenticator@0.2.0", false),
            ("mqtt-gate:auth/authenticator@1.1.0", false),
            ("mqtt-gate:auth/authenticator@0.1.0-rc.1", false),
            ("mqtt-gate:auth/authenticator@0.1.", false),
            ("mqtt-gate:auth/authenticator", false),
            ("mqtt-gate:auth/authorizer@0.1.0", false),
        ] {
            assert_eq!(is_compatible(export, AUTHENTICATOR), expected, "{export}");
        }
    }
}
