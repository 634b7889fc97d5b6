//! Warnings about a broker's configuration, found in requests that can be evaluated all the same.

use crate::error::PLACEHOLDER_HINT;

/// Fields that brokers fill by themselves. Every other field may hold text of a client.
const BROKER_FIELDS: [&str; 6] = ["peerhost", "client_ip", "action", "access", "qos", "retain"];

/// A probable error in the broker's configuration. Names fields and never shows their values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigWarning {
    /// A field holds a literal `${…}`, or `%c` and the like of EMQX 4: EMQX sends placeholders that it does not know as
    /// they are.
    #[error("the field holds an unresolved placeholder")]
    UnresolvedPlaceholder(String),
    /// The broker's body template lacks this field.
    #[error("the field is missing")]
    Missing(&'static str),
    /// EMQX, recognised by its default headers, uses a route where it reads a denial as *ignore*.
    #[error("the client looks like EMQX, which does not read status 401 as a denial")]
    EmqxOnStatusRoute,
    /// A login is like those of EMQX 4 and of rmqtt: a form without headers of EMQX 5. EMQX 4 reads every status 200 as
    /// *allow*.
    #[error("the client looks like EMQX 4 or rmqtt; EMQX 4 admits every client on this route")]
    LooksLikeEmqx4,
    /// RabbitMQ asks about a virtual host or an exchange that devices do not use. The field names it.
    #[error("denied: devices do not use this virtual host or exchange")]
    WrongVhostOrExchange(&'static str),
    /// The policy leaves an action to the broker's own rules, and this broker has none.
    #[error("denied: the policy leaves topics to the broker's own rules, and this broker has none")]
    NoFallbackRules,
    /// The policy has no authorizer, and this broker asks about each topic.
    #[error("denied: this broker asks about each topic, and the policy has no authorizer")]
    NoAuthorizer,
}

impl ConfigWarning {
    /// The kind of warning, for metrics, logs and the status.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind_and_hint().0
    }

    /// The remedy, for the operator.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        self.kind_and_hint().1
    }

    const fn kind_and_hint(&self) -> (&'static str, &'static str) {
        match self {
            Self::UnresolvedPlaceholder(_) => ("placeholder", PLACEHOLDER_HINT),
            Self::Missing(_) => {
                ("missing-field", "add this field to the broker's body template, if the policy needs it")
            }
            Self::EmqxOnStatusRoute => (
                "emqx-on-status-route",
                "configure EMQX to use /emqx/auth and /emqx/acl: there a denial is final; here EMQX asks its next \
                 authenticator",
            ),
            Self::LooksLikeEmqx4 => ("looks-like-emqx-4", LOOKS_LIKE_EMQX_4_HINT),
            Self::WrongVhostOrExchange(_) => (
                "wrong-vhost-or-exchange",
                "keep mqtt.vhost = / and mqtt.exchange = amq.topic, and set ignore_colons_in_username of rabbitmq_mqtt \
                 in advanced.config: otherwise clients can choose a virtual host",
            ),
            Self::NoFallbackRules => (
                "no-fallback-rules",
                "let the policy allow or deny each topic; the default policy does so once publish-topics and \
                 subscribe-topics are set",
            ),
            Self::NoAuthorizer => {
                ("no-authorizer", "serve a policy that exports mqtt-gate:auth/authorizer: it decides about each topic")
            }
        }
    }

    /// The field in which a client could have sent what looks like an unresolved placeholder. `None`: only the broker's
    /// configuration causes this warning.
    #[must_use]
    pub fn client_field(&self) -> Option<&str> {
        match self {
            Self::UnresolvedPlaceholder(name) if !BROKER_FIELDS.contains(&name.as_str()) => Some(name),
            _ => None,
        }
    }

    /// The field that the warning is about, if it is about one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::UnresolvedPlaceholder(name) => Some(name),
            Self::Missing(name) | Self::WrongVhostOrExchange(name) => Some(name),
            Self::EmqxOnStatusRoute | Self::LooksLikeEmqx4 | Self::NoFallbackRules | Self::NoAuthorizer => None,
        }
    }
}

/// The hint for a login that may be one of EMQX 4.
const LOOKS_LIKE_EMQX_4_HINT: &str = "EMQX 4: use /mqtt/auth and /mqtt/acl, or upgrade to 5.8 or newer; EMQX 5: send the \
                                      header accept: application/json; rmqtt: add [[broker]] kind = \"rmqtt\" to the \
                                      configuration of the gate";
