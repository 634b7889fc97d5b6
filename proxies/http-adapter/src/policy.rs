//! The policy that the adapter is composed with.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use brokers::{
    Access, Action, AuthorizeRequest, Authorizer, Credentials, Grant, Permission, PolicyCall, UnsupportedGrant, Verdict,
};

use crate::bindings::mqtt_gate::auth::{authenticator, authorizer};
use crate::bindings::wasi::clocks::wall_clock;

/// The policy, an import of this component.
pub(crate) struct ImportedPolicy;

/// The call gave no verdict: the policy has none or rejects its settings, or the broker cannot enforce its grant.
///
/// The cause is dropped: the adapter has no log, and an error text of the policy may repeat credentials.
pub(crate) struct NoVerdict;

impl PolicyCall for ImportedPolicy {
    type Reason = ();
    type Error = NoVerdict;

    fn authenticate(&self, credentials: Credentials) -> Result<Verdict<()>, NoVerdict> {
        check()?;
        Ok(authenticator::authenticate(&credentials.into()).map_err(|_| NoVerdict)?.into())
    }

    fn authorize(&self, request: AuthorizeRequest) -> Result<Permission, NoVerdict> {
        check()?;
        let AuthorizeRequest { client_id, username, peer_host, attributes, accesses } = request;
        let (action, topic) = (authorizer::Action::Publish, String::new());
        let mut request = authorizer::Request { client_id, username, peer_host, action, topic, attributes };
        Permission::try_combine(accesses.into_iter().map(|access| {
            request.action = access.action.into();
            request.topic = access.topic;
            authorizer::authorize(&request).map(Into::into).map_err(|_| NoVerdict)
        }))
    }

    /// Asks the policy about no topic: the authorizer that stands in for a missing one answers *ignore* to everything.
    fn authorizer(&self) -> Authorizer {
        static AUTHORIZER: OnceLock<Authorizer> = OnceLock::new();
        *AUTHORIZER.get_or_init(|| {
            let request = authorizer::Request {
                client_id: String::new(),
                username: None,
                peer_host: None,
                action: authorizer::Action::Subscribe,
                topic: String::new(),
                attributes: Vec::new(),
            };
            Authorizer::exported(!matches!(authorizer::authorize(&request), Ok(authorizer::Permission::Ignore)))
        })
    }

    fn now(&self) -> u64 {
        wall_clock::now().seconds
    }

    /// Cannot name the policy: a component does not know what it was composed with.
    fn status_page(&self) -> (u16, Cow<'static, str>) {
        let (status, policy) = match check() {
            Ok(()) => (200, "accepts its settings"),
            Err(NoVerdict) => (503, "refuses its settings: every client is denied"),
        };
        let version = env!("CARGO_PKG_VERSION");
        let text =
            format!("mqtt-gate {version} is running, composed with a policy behind wasi:http\npolicy: {policy}\n");
        (status, text.into())
    }
}

/// Checks that the policy accepts its settings, once in the life of an instance.
fn check() -> Result<(), NoVerdict> {
    static ACCEPTED: AtomicBool = AtomicBool::new(false);
    if !ACCEPTED.load(Relaxed) {
        authenticator::check().map_err(|_| NoVerdict)?;
        ACCEPTED.store(true, Relaxed);
    }
    Ok(())
}

impl From<UnsupportedGrant> for NoVerdict {
    fn from(_: UnsupportedGrant) -> Self {
        Self
    }
}

impl From<Credentials> for authenticator::Credentials {
    fn from(credentials: Credentials) -> Self {
        let Credentials { client_id, username, password, peer_host, attributes } = credentials;
        Self { client_id, username, password, peer_host, attributes }
    }
}

impl From<authenticator::Verdict> for Verdict<()> {
    fn from(verdict: authenticator::Verdict) -> Self {
        match verdict {
            authenticator::Verdict::Allow(grant) => Self::Allow(grant.into()),
            authenticator::Verdict::Deny(_) => Self::Deny(()),
            authenticator::Verdict::Ignore => Self::Ignore,
        }
    }
}

impl From<authenticator::Grant> for Grant {
    fn from(grant: authenticator::Grant) -> Self {
        Self { access: grant.access.into(), expires_at: grant.expires_at, attributes: grant.attributes }
    }
}

impl From<authenticator::Access> for Access {
    fn from(access: authenticator::Access) -> Self {
        match access {
            authenticator::Access::Everything => Self::Everything,
            authenticator::Access::Only(topics) => Self::Only { publish: topics.publish, subscribe: topics.subscribe },
            authenticator::Access::BrokerRules => Self::BrokerRules,
        }
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

impl From<authorizer::Permission> for Permission {
    fn from(permission: authorizer::Permission) -> Self {
        match permission {
            authorizer::Permission::Allow => Self::Allow,
            authorizer::Permission::Deny => Self::Deny,
            authorizer::Permission::Ignore => Self::Ignore,
        }
    }
}
