//! An `authorizer` for policies of contract 0.1 that export none. Answers `ignore` to every action, as the native host does.
//!
//! `mqtt-gate compose` adds it to such a policy, because a composition must satisfy every import. So one build of
//! `contract-0-1` works with every policy.

use bindings::exports::mqtt_gate::auth::authorizer::{Guest, Permission, Request};

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit/v0.1", world: "no-authorizer", generate_all });
}

/// The authorizer as a component. Never allows an action.
pub struct NoAuthorizer;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated from wit/")]
mod exports {
    use super::{NoAuthorizer, bindings};

    bindings::export!(NoAuthorizer with_types_in bindings);
}

impl Guest for NoAuthorizer {
    fn authorize(_: Request) -> Result<Permission, String> {
        Ok(Permission::Ignore)
    }
}
