//! What an admitted client gets, and which of it can be told to a broker.

use crate::Reply;

/// What an admitted client gets, as a policy says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The topics that it may use.
    pub access: Access,
    /// When its session ends, in seconds since 1970-01-01T00:00:00Z; `None`: never.
    pub expires_at: Option<u64>,
    /// Facts for the broker to keep on the session.
    pub attributes: Vec<(String, String)>,
}

/// Which topics a client may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Every topic.
    Everything,
    /// The topics of these filters, and no others.
    Only {
        /// What it may publish to.
        publish: Vec<String>,
        /// What it may subscribe to.
        subscribe: Vec<String>,
    },
    /// Whatever the broker's own rules say.
    #[default]
    BrokerRules,
}

/// The answer that lets a client in or an action pass.
///
/// There is none but from [`crate::Route::admit`] and [`crate::Route::permit`], so that nothing is let in by warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowReply(pub(crate) Reply);

/// Why a grant cannot be given: the broker would read it otherwise than it is meant. The client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedGrant {
    /// It is over before it begins.
    #[error("the grant has expired")]
    Expired,
    /// Its end is no moment that a broker would take for one.
    #[error("the end of the grant is not in seconds since 1970; milliseconds, perhaps")]
    NotSeconds,
    /// EMQX drops an attribute with such a name.
    #[error("the name of an attribute is not [A-Za-z0-9][A-Za-z0-9_-]*")]
    AttributeName,
    /// Two attributes have the same name: the broker keeps one of them.
    #[error("an attribute is there twice")]
    DuplicateAttribute,
    /// A topic filter is not one.
    #[error("the grant holds something that is not an MQTT topic filter")]
    InvalidFilter,
    /// EMQX lets a subscription reach further than this filter, and not in a way that could be denied by name.
    #[error("a subscription's filter has a `+` before its last level, which is `+` too: EMQX lets it reach below that")]
    FilterTooWide,
    /// It could not be written down: a fault of ours.
    #[error("the grant could not be written down; this is a fault of mqtt-gate, please report it")]
    NotSerializable,
    /// EMQX reads more into it than a topic filter: `eq …`, `${…}`, or a shared subscription.
    #[error(
        "a topic filter begins with `eq `, $share/, $queue/ or $exclusive/, or holds ${{…}}: EMQX reads it otherwise"
    )]
    ReservedFilter,
}

impl Grant {
    /// Whether the grant is not over yet.
    pub(crate) fn check_expiry(&self, now: u64) -> Result<(), UnsupportedGrant> {
        match self.expires_at {
            Some(end) if end <= now => Err(UnsupportedGrant::Expired),
            // EMQX 5.8 takes what is later than this for milliseconds, and refuses.
            Some(end) if end > now.saturating_mul(500) => Err(UnsupportedGrant::NotSeconds),
            _ => Ok(()),
        }
    }

    pub(crate) fn check_attributes(&self) -> Result<(), UnsupportedGrant> {
        for (at, (name, _)) in self.attributes.iter().enumerate() {
            if !is_attribute_name(name) {
                return Err(UnsupportedGrant::AttributeName);
            }
            if self.attributes.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(UnsupportedGrant::DuplicateAttribute);
            }
        }
        Ok(())
    }
}

/// What EMQX keeps: `^[A-Za-z0-9]+[A-Za-z0-9-_]*$`.
fn is_attribute_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
