//! What a verdict, or the lack of one, comes to, and the line in the log that tells of it.

use brokers::{Outcome, Route};

use crate::one_line;
use crate::policy::{CallError, Digest, Permission, Verdict};

/// The most characters of a client id that a log line shows.
const MOST_SHOWN: usize = 128;

/// One question: where it came from, whom it is about, and who judges it. Holds no password and no user name.
pub(crate) struct Case<'a> {
    pub(crate) route: Route,
    pub(crate) client_id: &'a str,
    /// The policy that judges it.
    pub(crate) policy: Digest,
}

impl Case<'_> {
    /// What the verdict on a login comes to, at this moment in seconds since 1970.
    ///
    /// # Errors
    /// The broker could not be told the grant as it is meant.
    pub(crate) fn login(&self, verdict: Verdict, now: u64) -> Result<Outcome<'static>, CallError> {
        match verdict {
            Verdict::Allow(grant) => {
                let admission = self.route.admit(&grant.into(), now)?;
                tracing::debug!(client_id = self.shown_id(), route = self.route.path(), "let in");
                Ok(Outcome::Allow(admission))
            }
            Verdict::Deny(reason) => {
                tracing::info!(
                    client_id = self.shown_id(),
                    reason = reason.name(),
                    route = self.route.path(),
                    policy = %self.policy,
                    "refused"
                );
                Ok(Outcome::Deny)
            }
            Verdict::Ignore => {
                tracing::info!(
                    client_id = self.shown_id(),
                    reason = "ignore",
                    route = self.route.path(),
                    policy = %self.policy,
                    "refused, unless another authenticator lets it in"
                );
                Ok(Outcome::Ignore)
            }
        }
    }

    /// What the permission for an action comes to. Clients ask for many, so only who looks for it is told.
    pub(crate) fn action(&self, permission: Permission) -> Outcome<'static> {
        tracing::debug!(client_id = self.shown_id(), ?permission, route = self.route.path(), "action judged");
        match permission {
            Permission::Allow => Outcome::Allow(self.route.permit()),
            Permission::Deny => Outcome::Deny,
            Permission::Ignore => Outcome::Ignore,
        }
    }

    /// The refusal of a question on which there is no verdict.
    pub(crate) fn refuse_for(&self, error: &CallError) -> Outcome<'static> {
        tracing::warn!(
            client_id = self.shown_id(),
            reason = error.kind(),
            error = one_line::chain(error),
            route = self.route.path(),
            policy = %self.policy,
            "refused without a verdict"
        );
        Outcome::NoVerdict
    }

    fn shown_id(&self) -> String {
        one_line::escaped(self.client_id, MOST_SHOWN)
    }
}
