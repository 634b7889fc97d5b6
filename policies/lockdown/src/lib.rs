//! A policy for incidents: allows the clients on a list and denies all others.
//!
//! The setting `clients` lists client ids, separated by commas. An empty list denies every client. A missing list is an
//! error, so that a swap cannot deny every client by accident. The policy compares only the client id that the broker
//! reports; it checks no password and no signature.

use bindings::exports::mqtt_gate::auth::authenticator::{Access, Credentials, Denial, Grant, Guest, Reason, Verdict};
use bindings::exports::mqtt_gate::auth::metadata;
use bindings::wasi::config::store;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "described-policy", generate_all });
}

/// The lockdown policy as a component.
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

    fn authenticate(credentials: Credentials) -> Result<Verdict, String> {
        Ok(if is_listed(&clients()?, &credentials.client_id) {
            Verdict::Allow(Grant {
                access: Access::BrokerRules,
                expires_at: None,
                key_id: None,
                attributes: Vec::new(),
                extensions: Vec::new(),
            })
        } else {
            Verdict::Deny(Denial { reason: Reason::NotAuthorized, detail: Some("not-listed".to_owned()) })
        })
    }
}

impl metadata::Guest for Lockdown {
    fn describe() -> metadata::Description {
        metadata::Description {
            name: "lockdown".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Allows the clients on a list and denies all others, for incidents.".into(),
            settings: vec![metadata::Setting {
                name: "clients".into(),
                kind: metadata::Kind::List,
                required: true,
                default: None,
                summary: "Client ids to allow, separated by commas; an empty list denies every client.".into(),
            }],
            keyrings: Vec::new(),
            tables: Vec::new(),
            details: vec![metadata::Detail {
                code: "not-listed".into(),
                summary: "The client is not on the list.".into(),
            }],
        }
    }
}

/// Reads the setting `clients`.
fn clients() -> Result<String, String> {
    match store::get("clients") {
        Ok(Some(clients)) => Ok(clients),
        Ok(None) => {
            Err("clients: missing; list the client ids to allow, separated by commas, or set an empty list to deny all"
                .into())
        }
        Err(_) => Err("clients: the host failed to read this setting; see the log of the host".into()),
    }
}

fn is_listed(clients: &str, client_id: &str) -> bool {
    !client_id.is_empty() && clients.split(',').any(|listed| listed.trim() == client_id)
}

#[cfg(test)]
mod tests {
    use super::is_listed;

    #[test]
    fn allows_only_listed_client_ids() {
        assert!(is_listed("a, b@@@c", "a") && is_listed("a, b@@@c", "b@@@c"));
        for other in ["", " ", "b", "a,", "a, b@@@c", "A"] {
            assert!(!is_listed("a, b@@@c,", other), "{other}");
        }
        assert!(!is_listed("", "") && !is_listed("", "a"));
    }
}
