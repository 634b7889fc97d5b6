//! What an operator has probably got wrong, told by a request that can be judged all the same.

use std::fmt;

use crate::error::PLACEHOLDER_HINT;

/// Something in the broker's configuration that the operator should look at. Names fields and never tells what they
/// held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigWarning {
    /// This field holds a literal `${…}`: EMQX sends the text of placeholders that it does not know.
    UnresolvedPlaceholder(String),
    /// The broker's template does not have this field.
    Missing(&'static str),
    /// EMQX asks, by its default headers, where it takes a refusal for *ignore*.
    EmqxOnStatusRoute,
    /// RabbitMQ asks about a virtual host or an exchange that is not for devices; this field names it.
    WrongVhostOrExchange(&'static str),
    /// The policy leaves the action to the broker's own rules, and this broker has none when it asks here.
    NoFallbackRules,
}

impl ConfigWarning {
    /// The kind of warning, in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UnresolvedPlaceholder(_) => "placeholder",
            Self::Missing(_) => "missing-field",
            Self::EmqxOnStatusRoute => "emqx-on-status-route",
            Self::WrongVhostOrExchange(_) => "wrong-vhost-or-exchange",
            Self::NoFallbackRules => "no-fallback-rules",
        }
    }

    /// The field that it is about.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::UnresolvedPlaceholder(name) => Some(name),
            Self::Missing(name) | Self::WrongVhostOrExchange(name) => Some(name),
            Self::EmqxOnStatusRoute | Self::NoFallbackRules => None,
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnresolvedPlaceholder(_) => PLACEHOLDER_HINT,
            Self::Missing(_) => "name this field in the broker's body template, if the policy is to judge by it",
            Self::EmqxOnStatusRoute => {
                "point EMQX at /emqx/auth and /emqx/acl: there a refusal is final, and here it goes on to somebody else"
            }
            Self::WrongVhostOrExchange(_) => {
                "leave mqtt.vhost at / and mqtt.exchange at amq.topic; and set ignore_colons_in_username of rabbitmq_mqtt \
                 in advanced.config, or clients can choose a virtual host"
            }
            Self::NoFallbackRules => {
                "set publish-topics and subscribe-topics, or serve a policy that exports mqtt-gate:auth/authorizer"
            }
        }
    }
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::UnresolvedPlaceholder(_) => f.write_str("the field holds a literal ${…}"),
            Self::Missing(_) => f.write_str("the field is missing"),
            Self::EmqxOnStatusRoute => f.write_str("this looks like EMQX, which does not take a 401 for a refusal"),
            Self::WrongVhostOrExchange(_) => f.write_str("this virtual host or exchange is not for devices: refused"),
            Self::NoFallbackRules => {
                f.write_str("the policy leaves topics to the broker's own rules, and this broker has none: refused")
            }
        }
    }
}
