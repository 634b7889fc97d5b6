//! Stands in for the `authorizer` of a policy that has none: leaves every action to the broker, as the native host does.
//!
//! `mqtt-gate compose` puts it beside such a policy, because an import cannot be left open in a composition. The other way
//! would be a second build of the adapter; this one leaves one adapter to write, to build and to test.

use bindings::exports::mqtt_gate::auth::authorizer::{Guest, Permission, Request};

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "no-authorizer", generate_all });
}

/// The stand-in, as a component exports it. It never allows anything.
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
