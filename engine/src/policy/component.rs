//! What a file is, before it is a policy: a component of the right kind that asks for nothing it may not have.

use std::fmt;

use sha2::{Digest as _, Sha256};
use wasmparser::{ComponentName, KnownCustom, Parser, Payload};
use wasmtime::component::{InstancePre, types::ComponentItem};

use super::LoadError;
use crate::policy::instance_pool::Template;
use crate::util::sanitize;
use crate::policy::sandbox::bindings::exports::mqtt_gate::auth::{authenticator, authorizer};
use crate::policy::sandbox::{Guest, Sandbox};

/// What a component has to export to be a policy.
pub(crate) const AUTHENTICATOR: &str = "mqtt-gate:auth/authenticator@0.1.0";

/// What a component may export besides, to answer for single actions.
pub(crate) const AUTHORIZER: &str = "mqtt-gate:auth/authorizer@0.1.0";

/// The most characters that are shown of the imports that a component may not have.
const MOST_SHOWN: usize = 300;

/// The SHA-256 of a component: what tells one from another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

/// Compiles a component and makes sure that it is a policy and asks for nothing that it may not have.
pub(super) fn link(sandbox: &Sandbox, bytes: &[u8]) -> Result<Template, LoadError> {
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err(LoadError::CoreModule);
    }
    let component = sandbox.compile(bytes).map_err(LoadError::Compile)?;
    let kind = component.component_type();
    let foreign: Vec<&str> =
        kind.imports(&sandbox.engine).map(|(name, _)| name).filter(|name| !Sandbox::offers(name)).collect();
    if !foreign.is_empty() {
        return Err(LoadError::Imports(sanitize::escaped(&foreign.join(", "), MOST_SHOWN)));
    }
    let exports = |name| kind.get_export(&sandbox.engine, name).map(|export| export.ty);
    if !matches!(exports(AUTHENTICATOR), Some(ComponentItem::ComponentInstance(_))) {
        return Err(LoadError::NotAPolicy);
    }
    let component: InstancePre<Guest> = sandbox.linker.instantiate_pre(&component).map_err(LoadError::Link)?;
    let misfit = |contract| move |source| LoadError::Contract { contract, source };
    Ok(Template {
        authenticator: authenticator::GuestIndices::new(&component).map_err(misfit(AUTHENTICATOR))?,
        // One that is there and does not fit is not taken for one that is not there.
        authorizer: exports(AUTHORIZER)
            .map(|_| authorizer::GuestIndices::new(&component).map_err(misfit(AUTHORIZER)))
            .transpose()?,
        component,
    })
}

/// The name in the component's own name section, if it has one.
pub(super) fn name_of(component: &[u8]) -> String {
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 => {
                if let KnownCustom::ComponentName(mut names) = section.as_known()
                    && let Some(Ok(ComponentName::Component { name, .. })) = names.next()
                {
                    return sanitize::escaped(name, 64);
                }
            }
            _ => {}
        }
    }
    "unnamed".to_owned()
}

impl Digest {
    /// The digest of these bytes.
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
