//! The incident switch: lets in the clients on a list, and nobody else.
//!
//! Setting `clients`: client ids separated by commas. An empty list lets nobody in; a missing one is an error, so that
//! a lockdown is never entered by an oversight. A client is known by its id alone, as the broker reports it: this
//! policy checks no password and no signature.

use bindings::exports::mqtt_gate::auth::authenticator::{Access, Credentials, Grant, Guest, Reason, Verdict};
use bindings::wasi::config::store;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "policy", generate_all });
}

/// The policy, as a component exports it.
pub struct Lockdown;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated from wit/")]
mod exports {
    use super::{Lockdown, bindings};

    bindings::export!(Lockdown with_types_in bindings);
}

impl Guest for Lockdown {
    fn check() -> Result<(), String> {
        clients().map(drop)
    }

    fn authenticate(who: Credentials) -> Result<Verdict, String> {
        Ok(if is_listed(&clients()?, &who.client_id) {
            Verdict::Allow(Grant {
                access: Access::BrokerRules,
                expires_at: None,
                key_id: None,
                attributes: Vec::new(),
            })
        } else {
            Verdict::Deny(Reason::NotAuthorized)
        })
    }
}

fn clients() -> Result<String, String> {
    match store::get("clients") {
        Ok(Some(clients)) => Ok(clients),
        Ok(None) => Err("clients: missing; list the client ids to let in, separated by commas, or none of them".into()),
        Err(_) => Err("clients: the host cannot read this setting".into()),
    }
}

fn is_listed(clients: &str, client_id: &str) -> bool {
    !client_id.is_empty() && clients.split(',').any(|listed| listed.trim() == client_id)
}

#[cfg(test)]
mod tests {
    use super::is_listed;

    #[test]
    fn nobody_is_let_in_who_is_not_on_the_list() {
        assert!(is_listed("a, b@@@c", "a") && is_listed("a, b@@@c", "b@@@c"));
        for stranger in ["", " ", "b", "a,", "a, b@@@c", "A"] {
            assert!(!is_listed("a, b@@@c,", stranger), "{stranger}");
        }
        assert!(!is_listed("", "") && !is_listed("", "a"));
    }
}
