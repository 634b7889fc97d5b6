//! What an operator has probably got wrong, told by a request that can be judged all the same.

use std::fmt;

use crate::error::UNFILLED_REMEDY;

/// Something in the broker's configuration that the operator should look at. Names members and never tells what they
/// held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// This member holds a literal `${…}`: EMQX sends the text of placeholders that it does not know.
    Unfilled(String),
    /// The broker's template does not have this member.
    Missing(&'static str),
    /// EMQX asks, by its default headers, where it takes a refusal for *ignore*.
    RefusalsNotFinal,
    /// RabbitMQ asks about a virtual host or an exchange that is not for devices; this member names it.
    NotForDevices(&'static str),
    /// The policy leaves the action to the broker's own rules, and this broker has none when it asks here.
    NobodyDecides,
}

impl Mistake {
    /// The kind of mistake, in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unfilled(_) => "placeholder",
            Self::Missing(_) => "missing-member",
            Self::RefusalsNotFinal => "emqx-by-status",
            Self::NotForDevices(_) => "not-for-devices",
            Self::NobodyDecides => "nobody-decides",
        }
    }

    /// The member that it is about.
    #[must_use]
    pub fn member(&self) -> Option<&str> {
        match self {
            Self::Unfilled(name) => Some(name),
            Self::Missing(name) | Self::NotForDevices(name) => Some(name),
            Self::RefusalsNotFinal | Self::NobodyDecides => None,
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unfilled(_) => UNFILLED_REMEDY,
            Self::Missing(_) => "name this member in the broker's body template, if the policy is to judge by it",
            Self::RefusalsNotFinal => {
                "point EMQX at /emqx/auth and /emqx/acl: there a refusal is final, and here it goes on to somebody else"
            }
            Self::NotForDevices(_) => {
                "leave mqtt.vhost at / and mqtt.exchange at amq.topic; and set ignore_colons_in_username of rabbitmq_mqtt \
                 in advanced.config, or clients can choose a virtual host"
            }
            Self::NobodyDecides => {
                "set publish-topics and subscribe-topics, or serve a policy that exports mqtt-gate:auth/authorizer"
            }
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Unfilled(_) => f.write_str("the member holds a literal ${…}"),
            Self::Missing(_) => f.write_str("the member is missing"),
            Self::RefusalsNotFinal => f.write_str("this looks like EMQX, which does not take a 401 for a refusal"),
            Self::NotForDevices(_) => f.write_str("this virtual host or exchange is not for devices: refused"),
            Self::NobodyDecides => {
                f.write_str("the policy leaves topics to the broker's own rules, and this broker has none: refused")
            }
        }
    }
}
