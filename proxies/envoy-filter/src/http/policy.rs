//! The policy, linked in as a library, behind the interface through which `brokers` calls it.

use std::borrow::Cow;

use auth_core::{Denial, Settings, UnixTime};
use brokers::{
    Access, Action, AuthorizeRequest, Authorizer, Credentials, Event, Grant, Permission, PolicyCall, UnsupportedGrant,
    Verdict,
};

/// An event for the operator's log.
pub(crate) type PolicyEvent<'a> = Event<'a, Denial, UnsupportedGrant>;

const STATUS_PAGE: &str = concat!(
    "mqtt-gate ",
    env!("CARGO_PKG_VERSION"),
    " is running, as a filter in Envoy\npolicy: auth-core, compiled in\nsignature key: set\n"
);

/// The policy during one request. Its only possible error is a grant that the broker cannot express.
pub(crate) struct LinkedPolicy<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) now: UnixTime,
    /// Receives events, each with the path of its route.
    pub(crate) log: &'a dyn Fn(&'static str, PolicyEvent),
}

impl PolicyCall for LinkedPolicy<'_> {
    type Reason = Denial;
    type Error = UnsupportedGrant;

    fn authenticate(&self, credentials: Credentials) -> Result<Verdict<Denial>, UnsupportedGrant> {
        let credentials = auth_core::Credentials {
            client_id: &credentials.client_id,
            username: credentials.username.as_deref(),
            password: credentials.password.as_deref(),
        };
        Ok(match auth_core::authenticate(&credentials, self.settings, || self.now) {
            auth_core::Verdict::Allow(grant) => Verdict::Allow(to_broker_grant(grant)),
            auth_core::Verdict::Deny(denial) => Verdict::Deny(denial),
        })
    }

    fn authorize(&self, request: AuthorizeRequest) -> Result<Permission, UnsupportedGrant> {
        Ok(Permission::combine(request.accesses.iter().map(|access| {
            let request = auth_core::AuthorizeRequest {
                client_id: &request.client_id,
                username: request.username.as_deref(),
                action: match access.action {
                    Action::ConnectWithoutProof => auth_core::Action::ConnectWithoutProof,
                    Action::Publish => auth_core::Action::Publish(&access.topic),
                    Action::Subscribe => auth_core::Action::Subscribe(&access.topic),
                },
            };
            match auth_core::authorize(&request, self.settings) {
                auth_core::Permission::Allow => Permission::Allow,
                auth_core::Permission::Deny => Permission::Deny,
                auth_core::Permission::Ignore => Permission::Ignore,
            }
        })))
    }

    fn authorizer(&self) -> Authorizer {
        Authorizer::Present
    }

    fn now(&self) -> u64 {
        self.now.0
    }

    fn status_page(&self) -> (u16, Cow<'static, str>) {
        (200, STATUS_PAGE.into())
    }

    fn record(&self, route: &'static str, event: PolicyEvent) {
        (self.log)(route, event);
    }
}

/// Converts a grant.
fn to_broker_grant(grant: auth_core::Grant) -> Grant {
    Grant {
        access: match grant.access {
            auth_core::Access::Everything => Access::Everything,
            auth_core::Access::Only(topics) => Access::Only { publish: topics.publish, subscribe: topics.subscribe },
            auth_core::Access::BrokerRules => Access::BrokerRules,
        },
        expires_at: grant.expires_at.map(|end| end.0),
        attributes: grant.attributes,
        extensions: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
