//! A test policy that imports nothing from its host, neither the clock nor settings. Allows only the client `plain`.

use bindings::exports::mqtt_gate::auth::authenticator::{Access, Credentials, Denial, Grant, Guest, Reason, Verdict};

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
        if credentials.client_id != "plain" {
            return Ok(Verdict::Deny(Denial { reason: Reason::NotAuthorized, detail: None }));
        }
        let (attributes, extensions) = (Vec::new(), Vec::new());
        let (access, expires_at, key_id) = (Access::BrokerRules, None, None);
        Ok(Verdict::Allow(Grant { access, expires_at, key_id, attributes, extensions }))
    }
}
