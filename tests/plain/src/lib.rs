//! A policy that asks its host for nothing, neither the time nor a setting: lets in the client `plain`.

use bindings::exports::mqtt_gate::auth::authenticator::{Access, Credentials, Grant, Guest, Reason, Verdict};

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "policy", generate_all });
}

/// The policy, as a component exports it.
pub struct Plain;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated from wit/")]
mod exports {
    use super::{Plain, bindings};

    bindings::export!(Plain with_types_in bindings);
}

impl Guest for Plain {
    fn check() -> Result<(), String> {
        Ok(())
    }

    fn authenticate(who: Credentials) -> Result<Verdict, String> {
        let grant = Grant { access: Access::BrokerRules, expires_at: None, key_id: None, attributes: Vec::new() };
        Ok(if who.client_id == "plain" { Verdict::Allow(grant) } else { Verdict::Deny(Reason::NotAuthorized) })
    }
}
