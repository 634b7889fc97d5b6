//! The rights of an admitted client, and which of them a broker can enforce.

/// Rights of an admitted client, as the policy states them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The topics that the client may use.
    pub access: Access,
    /// The end of the session, in seconds since 1970-01-01T00:00:00Z; `None` means never.
    pub expires_at: Option<u64>,
    /// Facts for the broker to keep on the session.
    pub attributes: Vec<(String, String)>,
    /// Values that only one kind of broker understands. The names begin with its prefix, such as `emqx/`.
    pub extensions: Vec<(String, String)>,
}

/// Which topics a client may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Every topic.
    Everything,
    /// The topics of these filters, and no others.
    Only {
        /// Topics that the client may publish to.
        publish: Vec<String>,
        /// Topics that the client may subscribe to.
        subscribe: Vec<String>,
    },
    /// The first of these rules that matches an action decides. An action that none matches is denied.
    Rules(Vec<Rule>),
    /// The topics that the broker's own rules allow.
    #[default]
    BrokerRules,
}

/// One rule about topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether the rule allows or denies.
    pub effect: Effect,
    /// The actions that it is about.
    pub action: RuleAction,
    /// A topic filter.
    pub filter: String,
    /// The quality of service that it is about; `None` means every level.
    pub qos: Option<QosLevels>,
    /// Whether it is about retained messages or about others; `None` means both.
    pub retain: Option<bool>,
}

/// The effect of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It allows the action.
    Allow,
    /// It denies the action.
    Deny,
}

/// The actions that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// Publishing.
    Publish,
    /// Subscribing.
    Subscribe,
    /// Both of them.
    Both,
}

/// Levels of quality of service: whether each of the levels 0, 1 and 2 is among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QosLevels(pub [bool; 3]);

/// Whether a policy answers authorize requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorizer {
    /// It exports `mqtt-gate:auth/authorizer`.
    Present,
    /// It does not, so the broker's own rules decide about topics.
    Absent,
}

impl Authorizer {
    /// Whether the policy exports the interface.
    #[must_use]
    pub const fn exported(is_exported: bool) -> Self {
        if is_exported { Self::Present } else { Self::Absent }
    }
}

/// Why a broker cannot enforce a grant: it would read the grant in another way than the policy meant it. The client is
/// denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedGrant {
    /// The session ends before it begins.
    #[error("the grant has expired")]
    Expired,
    /// The end of the session is not in seconds.
    #[error("the end of the grant is not in seconds since 1970; it may be in milliseconds")]
    NotSeconds,
    /// EMQX drops attributes with such a name.
    #[error("the grant has an attribute whose name is not [A-Za-z0-9][A-Za-z0-9_-]*")]
    AttributeName,
    /// Two attributes have the same name. The broker would keep one of them.
    #[error("the grant has two attributes with the same name")]
    DuplicateAttribute,
    /// A topic filter is invalid.
    #[error("the grant has an invalid MQTT topic filter")]
    InvalidFilter,
    /// EMQX allows subscriptions beyond this filter, and no rule can deny all of them.
    #[error(
        "the grant has a subscribe filter with a `+` before a last level that is `+` too: EMQX would allow \
         subscriptions below that level"
    )]
    FilterTooWide,
    /// The broker asks about each topic, and the policy does not answer such requests.
    #[error(
        "the grant names topics, this broker asks about each topic, and the policy has no authorizer: serve a policy \
         that exports mqtt-gate:auth/authorizer"
    )]
    NoAuthorizer,
    /// A rule is about no quality of service, so it never applies.
    #[error("the grant has a rule with an empty set of qos levels")]
    NoQos,
    /// A rule about subscribing says whether messages are retained, which a subscription does not.
    #[error("the grant has a rule about subscribing with `retain`, which only publishing has")]
    RetainOfSubscribe,
    /// An extension with the prefix of this broker that the broker would not apply.
    #[error(
        "the grant has an extension for this broker that the broker would not apply: its name or value is not one that \
         this gate knows, or `version` in [[broker]] is missing or too old for it"
    )]
    UnsupportedExtension,
    /// The grant could not be written as JSON: a bug in mqtt-gate.
    #[error("the grant could not be written as JSON: this is a bug in mqtt-gate, please report it")]
    NotSerializable,
    /// EMQX gives this filter a special meaning: `eq …`, `${…}`, or a shared subscription.
    #[error(
        "the grant has a topic filter that begins with `eq `, $share/, $queue/ or $exclusive/, or holds ${{…}}: EMQX \
         does not read it as a plain filter"
    )]
    ReservedFilter,
}

impl Grant {
    /// Checks that the session ends in the future, and in seconds.
    ///
    /// # Errors
    /// [`UnsupportedGrant::Expired`] or [`UnsupportedGrant::NotSeconds`].
    pub fn check_expiry(&self, now: u64) -> Result<(), UnsupportedGrant> {
        match self.expires_at {
            Some(end) if end <= now => Err(UnsupportedGrant::Expired),
            // EMQX 5.8 reads a later time as milliseconds, and refuses the client.
            Some(end) if end > now.saturating_mul(500) => Err(UnsupportedGrant::NotSeconds),
            _ => Ok(()),
        }
    }

    /// Checks that every rule can apply.
    ///
    /// # Errors
    /// [`UnsupportedGrant::NoQos`] or [`UnsupportedGrant::RetainOfSubscribe`].
    pub(crate) fn check_rules(&self) -> Result<(), UnsupportedGrant> {
        let Access::Rules(rules) = &self.access else { return Ok(()) };
        for rule in rules {
            if rule.qos.is_some_and(|QosLevels(levels)| !levels.contains(&true)) {
                return Err(UnsupportedGrant::NoQos);
            }
            if rule.action == RuleAction::Subscribe && rule.retain.is_some() {
                return Err(UnsupportedGrant::RetainOfSubscribe);
            }
        }
        Ok(())
    }

    /// The extensions with this prefix, without it, each at most once. Those of other brokers are left out.
    ///
    /// # Errors
    /// [`UnsupportedGrant::UnsupportedExtension`] for two with the same name.
    pub(crate) fn extensions_of(&self, prefix: &str) -> Result<Vec<(&str, &str)>, UnsupportedGrant> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &self.extensions {
            let Some(name) = name.strip_prefix(prefix) else { continue };
            if found.iter().any(|(earlier, _)| *earlier == name) {
                return Err(UnsupportedGrant::UnsupportedExtension);
            }
            found.push((name, value));
        }
        Ok(found)
    }

    /// Whether the grant lists what the client may do, so that a broker must enforce the list or ask about each topic.
    pub(crate) fn limits_topics(&self) -> bool {
        matches!(self.access, Access::Only { .. } | Access::Rules(_))
    }

    /// Checks that EMQX keeps every attribute.
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

/// Whether EMQX keeps an attribute with this name: `^[A-Za-z0-9]+[A-Za-z0-9-_]*$`.
fn is_attribute_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Whether a text can be shown as the id of a key: 1 to 64 letters, digits, `_`, `.` and `-`. A policy could return
/// anything, a secret included. `auth-core` has a copy, because a policy depends on nothing but `wit/`.
#[must_use]
pub fn is_key_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_760_000_000;

    #[test]
    fn session_ends_after_now_and_in_seconds() {
        for (end, expected) in [
            (None, Ok(())),
            (Some(NOW + 1), Ok(())),
            (Some(NOW * 500), Ok(())),
            (Some(NOW), Err(UnsupportedGrant::Expired)),
            (Some(0), Err(UnsupportedGrant::Expired)),
            (Some(NOW * 500 + 1), Err(UnsupportedGrant::NotSeconds)),
            (Some(u64::MAX), Err(UnsupportedGrant::NotSeconds)),
        ] {
            let grant = Grant { expires_at: end, ..Grant::default() };
            assert_eq!(grant.check_expiry(NOW), expected, "{end:?}");
        }
    }

    #[test]
    fn key_id_is_a_short_plain_name() {
        for id in ["a", "2024-06", "site_1.key", &"x".repeat(64)] {
            assert!(is_key_id(id), "{id}");
        }
        for text in ["", "a b", "a\n", "ü", "a=b", "${key}", &"x".repeat(65)] {
            assert!(!is_key_id(text), "{text}");
        }
    }
}
