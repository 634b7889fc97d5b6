//! The policy that the adapter is composed with.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use brokers::{
    Access, Action, AuthorizeRequest, Authorizer, Credentials, Effect, Grant, Permission, PolicyCall, QosLevels, Rule,
    RuleAction, TopicAccess, UnsupportedGrant, Verdict,
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
        let action = authorizer::Action::ConnectWithoutProof;
        let mut request = authorizer::Request { client_id, username, peer_host, action, attributes };
        Permission::try_combine(accesses.into_iter().map(|access| {
            request.action = access.into();
            authorizer::authorize(&request).map(Into::into).map_err(|_| NoVerdict)
        }))
    }

    /// Asks the policy about a client without a name: the authorizer that stands in for a missing one answers *ignore* to everything.
    fn authorizer(&self) -> Authorizer {
        static AUTHORIZER: OnceLock<Authorizer> = OnceLock::new();
        *AUTHORIZER.get_or_init(|| {
            let request = authorizer::Request {
                client_id: String::new(),
                username: None,
                peer_host: None,
                action: authorizer::Action::ConnectWithoutProof,
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
        let Credentials {
            client_id,
            username,
            password,
            authentication_method,
            authentication_data,
            peer_host,
            attributes,
        } = credentials;
        Self { client_id, username, password, authentication_method, authentication_data, peer_host, attributes }
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
        let authenticator::Grant { access, expires_at, key_id: _, attributes, extensions } = grant;
        Self { access: access.into(), expires_at, attributes, extensions }
    }
}

impl From<authenticator::Access> for Access {
    fn from(access: authenticator::Access) -> Self {
        match access {
            authenticator::Access::Everything => Self::Everything,
            authenticator::Access::Only(topics) => Self::Only { publish: topics.publish, subscribe: topics.subscribe },
            authenticator::Access::Rules(rules) => Self::Rules(rules.into_iter().map(Into::into).collect()),
            authenticator::Access::BrokerRules => Self::BrokerRules,
        }
    }
}

impl From<authenticator::Rule> for Rule {
    fn from(rule: authenticator::Rule) -> Self {
        use authenticator::QosLevels as Levels;
        Self {
            effect: match rule.effect {
                authenticator::Effect::Allow => Effect::Allow,
                authenticator::Effect::Deny => Effect::Deny,
            },
            action: match rule.action {
                authenticator::RuleAction::Publish => RuleAction::Publish,
                authenticator::RuleAction::Subscribe => RuleAction::Subscribe,
                authenticator::RuleAction::Both => RuleAction::Both,
            },
            filter: rule.filter,
            qos: rule.qos.map(|qos| {
                let levels = [Levels::AT_MOST_ONCE, Levels::AT_LEAST_ONCE, Levels::EXACTLY_ONCE];
                QosLevels(levels.map(|level| qos.contains(level)))
            }),
            retain: rule.retain,
        }
    }
}

impl From<TopicAccess> for authorizer::Action {
    fn from(access: TopicAccess) -> Self {
        let TopicAccess { action, topic, qos, retain } = access;
        match action {
            Action::ConnectWithoutProof => Self::ConnectWithoutProof,
            Action::Publish => Self::Publish(authorizer::Publication { topic, qos, retain }),
            Action::Subscribe => Self::Subscribe(authorizer::Subscription { filter: topic, qos }),
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
