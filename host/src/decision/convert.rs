//! From the words of the contract to those of the dialects, and back.

use brokers::Action;

use super::{Access, Grant, Reason};
use mqtt_gate_engine::policy::sandbox::bindings::exports::mqtt_gate::auth::authorizer;

impl From<Action> for authorizer::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Publish => Self::Publish,
            Action::Subscribe => Self::Subscribe,
        }
    }
}

/// What a grant says, for the dialects to tell it.
impl From<Grant> for brokers::Grant {
    fn from(grant: Grant) -> Self {
        Self {
            access: match grant.access {
                Access::Everything => brokers::Access::Everything,
                Access::Only(topics) => brokers::Access::Only { publish: topics.publish, subscribe: topics.subscribe },
                Access::BrokerRules => brokers::Access::BrokerRules,
            },
            expires_at: grant.expires_at,
            attributes: grant.attributes,
        }
    }
}

impl Reason {
    /// Its name in the contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientIdentifierNotValid => "client-identifier-not-valid",
            Self::BadUserNameOrPassword => "bad-user-name-or-password",
            Self::NotAuthorized => "not-authorized",
            Self::Banned => "banned",
        }
    }
}
