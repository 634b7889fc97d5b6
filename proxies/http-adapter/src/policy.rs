//! Putting a question to the policy, and what its answer comes to.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use brokers::{Access, Action, AuthRequest, AuthorizeRequest, Credentials, Grant, Outcome, Route};

use crate::bindings::mqtt_gate::auth::authenticator::{self, Verdict};
use crate::bindings::mqtt_gate::auth::authorizer::{self, Permission};
use crate::bindings::wasi::clocks::wall_clock;

/// There is no verdict: the policy says that it has none or refuses its settings, or it grants what the broker would take
/// for something else. Which of these is not kept: there is no log here, and a policy may repeat what it was told.
pub(crate) struct NoVerdict;

/// What comes of a question.
///
/// # Errors
/// There is no verdict: the client is to be refused.
pub(crate) fn decide(route: Route, request: AuthRequest) -> Result<Outcome<'static>, NoVerdict> {
    match request {
        AuthRequest::Authenticate(who) => {
            check()?;
            login(route, who)
        }
        AuthRequest::Authorize(what) => {
            check()?;
            actions(what).map(|permission| match permission {
                Permission::Allow => Outcome::Allow(route.allow_action()),
                Permission::Deny => Outcome::Deny,
                Permission::Ignore => Outcome::Ignore,
            })
        }
        AuthRequest::AlwaysDeny => Ok(Outcome::Deny),
    }
}

/// Whether the policy can work with its settings. Parsed before it judges, once in the life of an instance.
pub(crate) fn check() -> Result<(), NoVerdict> {
    static GOOD: AtomicBool = AtomicBool::new(false);
    if !GOOD.load(Relaxed) {
        authenticator::check().map_err(|_| NoVerdict)?;
        GOOD.store(true, Relaxed);
    }
    Ok(())
}

fn login(route: Route, who: Credentials) -> Result<Outcome<'static>, NoVerdict> {
    let who = authenticator::Credentials {
        client_id: who.client_id,
        username: who.username,
        password: who.password,
        peer_host: who.peer_host,
        attributes: who.attributes,
    };
    match authenticator::authenticate(&who).map_err(|_| NoVerdict)? {
        Verdict::Allow(grant) => {
            let admission = route.allow_login(&grant.into(), wall_clock::now().seconds).map_err(|_| NoVerdict)?;
            Ok(Outcome::Allow(admission))
        }
        Verdict::Deny(_) => Ok(Outcome::Deny),
        Verdict::Ignore => Ok(Outcome::Ignore),
    }
}

/// Judges what a connected client wants to do: all of it, or nothing.
fn actions(asked: AuthorizeRequest) -> Result<Permission, NoVerdict> {
    let AuthorizeRequest { client_id, username, peer_host, attributes, accesses } = asked;
    let (action, topic) = (authorizer::Action::Publish, String::new());
    let mut request = authorizer::Request { client_id, username, peer_host, action, topic, attributes };
    let mut together = None;
    for one in accesses {
        request.action = one.action.into();
        request.topic = one.topic;
        let answer = authorizer::authorize(&request).map_err(|_| NoVerdict)?;
        together = Some(together.map_or(answer, |before| strictest(before, answer)));
    }
    // Who wants nothing is allowed nothing.
    Ok(together.unwrap_or(Permission::Deny))
}

/// What comes of two answers, when both things are accesses.
fn strictest(one: Permission, other: Permission) -> Permission {
    match (one, other) {
        (Permission::Deny, _) | (_, Permission::Deny) => Permission::Deny,
        (Permission::Ignore, _) | (_, Permission::Ignore) => Permission::Ignore,
        (Permission::Allow, Permission::Allow) => Permission::Allow,
    }
}

impl From<Action> for authorizer::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Publish => Self::Publish,
            Action::Subscribe => Self::Subscribe,
        }
    }
}

/// What a grant says, for the dialects to tell it.
impl From<authenticator::Grant> for Grant {
    fn from(grant: authenticator::Grant) -> Self {
        Self {
            access: match grant.access {
                authenticator::Access::Everything => Access::Everything,
                authenticator::Access::Only(topics) => {
                    Access::Only { publish: topics.publish, subscribe: topics.subscribe }
                }
                authenticator::Access::BrokerRules => Access::BrokerRules,
            },
            expires_at: grant.expires_at,
            attributes: grant.attributes,
        }
    }
}
