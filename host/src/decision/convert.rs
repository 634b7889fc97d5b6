//! Converts between the types of the contract and those of the broker dialects.

use mqtt_gate_engine::{
    Access, Action, AuthorizeRequest, Credentials, Effect, Grant, Permission, Publication, QosLevels, Rule, RuleAction,
    Subscription,
};

/// Converts a login for the policy.
#[must_use]
pub fn credentials(credentials: brokers::Credentials) -> Credentials {
    let brokers::Credentials {
        client_id,
        username,
        password,
        authentication_method,
        authentication_data,
        peer_host,
        attributes,
    } = credentials;
    Credentials { client_id, username, password, authentication_method, authentication_data, peer_host, attributes }
}

/// Converts a publish or subscribe check for the policy.
pub(super) fn authorize_request(request: brokers::AuthorizeRequest) -> AuthorizeRequest {
    let brokers::AuthorizeRequest { client_id, username, peer_host, attributes, accesses } = request;
    let actions = accesses.into_iter().map(action).collect();
    AuthorizeRequest { client_id, username, peer_host, attributes, actions }
}

fn action(access: brokers::TopicAccess) -> Action {
    let brokers::TopicAccess { action, topic, qos, retain } = access;
    match action {
        brokers::Action::ConnectWithoutProof => Action::ConnectWithoutProof,
        brokers::Action::Publish => Action::Publish(Publication { topic, qos, retain }),
        brokers::Action::Subscribe => Action::Subscribe(Subscription { filter: topic, qos }),
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
            Access::Rules(rules) => brokers::Access::Rules(rules.into_iter().map(rule).collect()),
            Access::BrokerRules => brokers::Access::BrokerRules,
        },
        expires_at: grant.expires_at,
        attributes: grant.attributes,
        extensions: grant.extensions,
    }
}

fn rule(rule: Rule) -> brokers::Rule {
    brokers::Rule {
        effect: match rule.effect {
            Effect::Allow => brokers::Effect::Allow,
            Effect::Deny => brokers::Effect::Deny,
        },
        action: match rule.action {
            RuleAction::Publish => brokers::RuleAction::Publish,
            RuleAction::Subscribe => brokers::RuleAction::Subscribe,
            RuleAction::Both => brokers::RuleAction::Both,
        },
        filter: rule.filter,
        qos: rule.qos.map(|qos| {
            let levels = [QosLevels::AT_MOST_ONCE, QosLevels::AT_LEAST_ONCE, QosLevels::EXACTLY_ONCE];
            brokers::QosLevels(levels.map(|level| qos.contains(level)))
        }),
        retain: rule.retain,
    }
}
