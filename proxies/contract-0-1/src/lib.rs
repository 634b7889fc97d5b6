//! A policy of contract 0.1, as one of contract 0.2. `mqtt-gate compose` puts it between such a policy and the HTTP
//! adapter, so that the adapter knows only the newest contract.
//!
//! It does what the native host does (`engine/src/policy/contract/v0_1.rs`): a policy of 0.1 is not told what its contract
//! has no field for.

use bindings::exports::mqtt_gate::auth0_2_0::{authenticator as new, authorizer as new_authorizer};
use bindings::mqtt_gate::auth0_1_0::{authenticator as old, authorizer as old_authorizer};

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "contract-adapter", generate_all });
}

/// The adapter as a component.
pub struct Adapter;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated from wit/")]
mod exports {
    use super::{Adapter, bindings};

    bindings::export!(Adapter with_types_in bindings);
}

impl new::Guest for Adapter {
    fn check() -> Result<(), String> {
        old::check()
    }

    fn authenticate(credentials: new::Credentials) -> Result<new::Verdict, String> {
        let new::Credentials { client_id, username, password, peer_host, attributes, .. } = credentials;
        old::authenticate(&old::Credentials { client_id, username, password, peer_host, attributes }).map(verdict)
    }
}

impl new_authorizer::Guest for Adapter {
    fn authorize(request: new_authorizer::Request) -> Result<new_authorizer::Permission, String> {
        // An empty topic would be the question of `connect-without-proof`.
        let Some(request) = old_request(request) else { return Ok(new_authorizer::Permission::Deny) };
        old_authorizer::authorize(&request).map(|permission| match permission {
            old_authorizer::Permission::Allow => new_authorizer::Permission::Allow,
            old_authorizer::Permission::Deny => new_authorizer::Permission::Deny,
            old_authorizer::Permission::Ignore => new_authorizer::Permission::Ignore,
        })
    }
}

/// The request, unless it has an empty topic, which MQTT does not allow.
fn old_request(request: new_authorizer::Request) -> Option<old_authorizer::Request> {
    let new_authorizer::Request { client_id, username, peer_host, action, attributes } = request;
    let non_empty = |topic: String| (!topic.is_empty()).then_some(topic);
    let (action, topic) = match action {
        new_authorizer::Action::ConnectWithoutProof => (old_authorizer::Action::Subscribe, String::new()),
        new_authorizer::Action::Publish(publication) => {
            (old_authorizer::Action::Publish, non_empty(publication.topic)?)
        }
        new_authorizer::Action::Subscribe(subscription) => {
            (old_authorizer::Action::Subscribe, non_empty(subscription.filter)?)
        }
    };
    Some(old_authorizer::Request { client_id, username, peer_host, action, topic, attributes })
}

fn verdict(verdict: old::Verdict) -> new::Verdict {
    match verdict {
        old::Verdict::Allow(grant) => new::Verdict::Allow(new::Grant {
            access: access(grant.access),
            expires_at: grant.expires_at,
            key_id: grant.key_id,
            attributes: grant.attributes,
            extensions: Vec::new(),
        }),
        old::Verdict::Deny(reason) => new::Verdict::Deny(new::Denial { reason: new_reason(reason), detail: None }),
        old::Verdict::Ignore => new::Verdict::Ignore,
    }
}

fn access(access: old::Access) -> new::Access {
    match access {
        old::Access::Everything => new::Access::Everything,
        old::Access::Only(old::Topics { publish, subscribe }) => new::Access::Only(new::Topics { publish, subscribe }),
        old::Access::BrokerRules => new::Access::BrokerRules,
    }
}

fn new_reason(reason: old::Reason) -> new::Reason {
    match reason {
        old::Reason::ClientIdentifierNotValid => new::Reason::ClientIdentifierNotValid,
        old::Reason::BadUserNameOrPassword => new::Reason::BadUserNameOrPassword,
        old::Reason::NotAuthorized => new::Reason::NotAuthorized,
        old::Reason::Banned => new::Reason::Banned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_question_without_proof_becomes_an_empty_topic() {
        let topic = |action| {
            let (client_id, username, peer_host, attributes) = (String::new(), None, None, Vec::new());
            let request = new_authorizer::Request { client_id, username, peer_host, action, attributes };
            old_request(request).map(|request| request.topic)
        };
        let publish = |topic: &str| {
            let (topic, qos, retain) = (topic.to_owned(), None, None);
            new_authorizer::Action::Publish(new_authorizer::Publication { topic, qos, retain })
        };
        assert_eq!(topic(new_authorizer::Action::ConnectWithoutProof).as_deref(), Some(""));
        assert_eq!(topic(publish("a")).as_deref(), Some("a"));
        assert_eq!(topic(publish("")), None);
    }
}
