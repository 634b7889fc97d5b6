//! Evaluates requests with the policy. It is a library here, so a call cannot fail.

use auth_core::{Access, AuthorizeRequest, Permission, Settings, UnixTime, Verdict};
use brokers::{Action, Actions, Credentials, Grant};

/// Decides whether a client may connect.
pub(crate) fn authenticate(credentials: &Credentials, settings: &Settings, now: UnixTime) -> Verdict {
    let credentials = auth_core::Credentials {
        client_id: &credentials.client_id,
        username: credentials.username.as_deref(),
        password: credentials.password.as_deref(),
    };
    auth_core::authenticate(&credentials, settings, || now)
}

/// Decides whether a connected client may perform all operations of the request. Denies a request without operations.
pub(crate) fn authorize(request: &Actions, settings: &Settings) -> Permission {
    let authorize_one = |wanted: &brokers::Wanted| {
        let action = match wanted.action {
            Action::Publish => auth_core::Action::Publish,
            Action::Subscribe => auth_core::Action::Subscribe,
        };
        let single = AuthorizeRequest {
            client_id: &request.client_id,
            username: request.username.as_deref(),
            action,
            topic: &wanted.topic,
        };
        auth_core::authorize(&single, settings)
    };
    request.wanted.iter().map(authorize_one).reduce(strictest).unwrap_or(Permission::Deny)
}

/// The stricter of two permissions.
fn strictest(one: Permission, other: Permission) -> Permission {
    match (one, other) {
        (Permission::Deny, _) | (_, Permission::Deny) => Permission::Deny,
        (Permission::Ignore, _) | (_, Permission::Ignore) => Permission::Ignore,
        (Permission::Allow, Permission::Allow) => Permission::Allow,
    }
}

/// Converts a grant. It has no attributes, because the policy grants none.
pub(crate) fn to_broker_grant(grant: auth_core::Grant) -> Grant {
    Grant {
        access: match grant.access {
            Access::Everything => brokers::Access::Everything,
            Access::Only(topics) => brokers::Access::Only { publish: topics.publish, subscribe: topics.subscribe },
            Access::BrokerRules => brokers::Access::BrokerRules,
        },
        expires_at: grant.expires_at.map(|end| end.0),
        attributes: Vec::new(),
    }
}
