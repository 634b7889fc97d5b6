//! A test policy that imports nothing from its host, neither the clock nor settings. Allows only the client `plain`.

use bindings::exports::mqtt_gate::auth::authenticator::{Access, Credentials, Grant, Guest, Reason, Verdict};

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "policy", generate_all });
}

/// The test policy as a component.
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

    fn authenticate(credentials: Credentials) -> Result<Verdict, String> {
        let grant = Grant { access: Access::BrokerRules, expires_at: None, key_id: None, attributes: Vec::new() };
        Ok(if credentials.client_id == "plain" { Verdict::Allow(grant) } else { Verdict::Deny(Reason::NotAuthorized) })
    }
}
