//! Converts between the types of the contract and those of the broker dialects.

use mqtt_gate_engine::{Access, Action, AuthorizeRequest, Credentials, Grant, Permission};

/// Converts a login for the policy.
#[must_use]
pub fn credentials(credentials: brokers::Credentials) -> Credentials {
    let brokers::Credentials { client_id, username, password, peer_host, attributes } = credentials;
    Credentials { client_id, username, password, peer_host, attributes }
}

/// Converts a publish or subscribe check for the policy.
pub(super) fn authorize_request(request: brokers::AuthorizeRequest) -> AuthorizeRequest {
    let brokers::AuthorizeRequest { client_id, username, peer_host, attributes, accesses } = request;
    let accesses = accesses.into_iter().map(|access| (action(access.action), access.topic)).collect();
    AuthorizeRequest { client_id, username, peer_host, attributes, accesses }
}

fn action(action: brokers::Action) -> Action {
    match action {
        brokers::Action::Publish => Action::Publish,
        brokers::Action::Subscribe => Action::Subscribe,
    }
}

pub(super) fn permission(permission: Permission) -> brokers::Permission {
    match permission {
        Permission::Allow => brokers::Permission::Allow,
        Permission::Deny => brokers::Permission::Deny,
        Permission::Ignore => brokers::Permission::Ignore,
    }
}

/// Converts a grant for the broker.
#[must_use]
pub fn grant(grant: Grant) -> brokers::Grant {
    brokers::Grant {
        access: match grant.access {
            Access::Everything => brokers::Access::Everything,
            Access::Only(topics) => brokers::Access::Only { publish: topics.publish, subscribe: topics.subscribe },
            Access::BrokerRules => brokers::Access::BrokerRules,
        },
        expires_at: grant.expires_at,
        attributes: grant.attributes,
    }
}
