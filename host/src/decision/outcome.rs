//! What a verdict, or the lack of one, comes to, and the line in the log that tells of it.

use brokers::{Outcome, Route};

use mqtt_gate_engine::util::sanitize;
use mqtt_gate_engine::policy::{CallError, Digest, Permission, Verdict};
use crate::decision::code::Ruling;

/// The most characters of a client id that a log line shows.
const MOST_SHOWN: usize = 128;

/// One question: where it came from, whom it is about, and who judges it. Holds no password and no user name.
pub(crate) struct Case<'a> {
    pub(crate) route: Route,
    pub(crate) client_id: &'a str,
    /// The policy that judges it.
    pub(crate) policy: Digest,
}

/// What a question came to: for the broker, and for those who count.
pub(crate) struct Ruled {
    pub(crate) outcome: Outcome<'static>,
    pub(crate) ruling: Ruling,
    /// The key that vouched for the client, if the policy names one.
    pub(crate) key_id: Option<String>,
}

impl Ruled {
    fn new(outcome: Outcome<'static>, ruling: Ruling) -> Self {
        Self { outcome, ruling, key_id: None }
    }
}

impl Case<'_> {
    /// What the verdict on a login comes to, at this moment in seconds since 1970.
    ///
    /// # Errors
    /// The broker could not be told the grant as it is meant.
    pub(crate) fn login(&self, verdict: Verdict, now: u64) -> Result<Ruled, CallError> {
        match verdict {
            Verdict::Allow(mut grant) => {
                let key_id = grant.key_id.take().filter(|id| is_key_id(id));
                let admission = self.route.admit(&grant.into(), now)?;
                tracing::debug!(client_id = self.shown_id(), route = self.route.path(), "let in");
                Ok(Ruled { outcome: Outcome::Allow(admission), ruling: Ruling::Allow, key_id })
            }
            Verdict::Deny(reason) => {
                let ruling = Ruling::from(reason);
                tracing::info!(
                    client_id = self.shown_id(),
                    reason = ruling.reason(),
                    route = self.route.path(),
                    policy = %self.policy,
                    "refused"
                );
                Ok(Ruled::new(Outcome::Deny, ruling))
            }
            Verdict::Ignore => {
                tracing::info!(
                    client_id = self.shown_id(),
                    reason = "ignore",
                    route = self.route.path(),
                    policy = %self.policy,
                    "refused, unless another authenticator lets it in"
                );
                Ok(Ruled::new(Outcome::Ignore, Ruling::Ignore))
            }
        }
    }

    /// What the permission for an action comes to. Clients ask for many, so only who looks for it is told.
    pub(crate) fn action(&self, permission: Permission) -> Ruled {
        tracing::debug!(client_id = self.shown_id(), ?permission, route = self.route.path(), "action judged");
        let outcome = match permission {
            Permission::Allow => Outcome::Allow(self.route.permit()),
            Permission::Deny => Outcome::Deny,
            Permission::Ignore => Outcome::Ignore,
        };
        Ruled::new(outcome, Ruling::of_permission(permission))
    }

    /// The refusal of a question on which there is no verdict.
    pub(crate) fn refuse_for(&self, error: &CallError) -> Ruled {
        let ruling = Ruling::from(error);
        tracing::warn!(
            client_id = self.shown_id(),
            reason = ruling.reason(),
            error = sanitize::chain(error),
            route = self.route.path(),
            policy = %self.policy,
            "refused without a verdict"
        );
        Ruled::new(Outcome::NoVerdict, ruling)
    }

    fn shown_id(&self) -> String {
        sanitize::escaped(self.client_id, MOST_SHOWN)
    }
}

/// Whether this may be shown as the name of a key: a policy could name anything.
fn is_key_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
