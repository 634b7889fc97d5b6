//! Putting questions to the policy, which is a library here: it answers, and cannot fail.

use auth_core::{Access, AuthorizeRequest, Permission, Settings, UnixTime, Verdict, authenticate, authorize};
use brokers::{Action, Actions, Credentials, Grant};

/// May this client connect, of which a broker asks?
pub(crate) fn login(who: &Credentials, settings: &Settings, now: UnixTime) -> Verdict {
    let who = auth_core::Credentials {
        client_id: &who.client_id,
        username: who.username.as_deref(),
        password: who.password.as_deref(),
    };
    authenticate(&who, settings, || now)
}

/// May this client, which is connected, do all of this? Who wants nothing is allowed nothing.
pub(crate) fn actions(what: &Actions, settings: &Settings) -> Permission {
    let one = |wanted: &brokers::Wanted| {
        let action = match wanted.action {
            Action::Publish => auth_core::Action::Publish,
            Action::Subscribe => auth_core::Action::Subscribe,
        };
        let request = AuthorizeRequest {
            client_id: &what.client_id,
            username: what.username.as_deref(),
            action,
            topic: &wanted.topic,
        };
        authorize(&request, settings)
    };
    what.wanted.iter().map(one).reduce(strictest).unwrap_or(Permission::Deny)
}

/// What comes of two answers, when both things are wanted.
fn strictest(one: Permission, other: Permission) -> Permission {
    match (one, other) {
        (Permission::Deny, _) | (_, Permission::Deny) => Permission::Deny,
        (Permission::Ignore, _) | (_, Permission::Ignore) => Permission::Ignore,
        (Permission::Allow, Permission::Allow) => Permission::Allow,
    }
}

/// A grant as brokers are told it. It has no attributes: the policy grants none.
pub(crate) fn told(grant: auth_core::Grant) -> Grant {
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
