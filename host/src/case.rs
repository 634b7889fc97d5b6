//! What a verdict, or the lack of one, comes to, and the line in the log that tells of it.

use brokers::Outcome;

use crate::one_line;
use crate::policy::{CallError, Digest, Reason, Verdict};

/// The most characters of a client id that a log line shows.
const MOST_SHOWN: usize = 128;

/// One login: where it came from, who it is of, and who judges it. Holds no password and no user name.
pub(crate) struct Login<'a> {
    pub(crate) route: &'static str,
    pub(crate) client_id: &'a str,
    /// The policy that judges it.
    pub(crate) policy: Digest,
}

impl Login<'_> {
    /// What the verdict comes to.
    pub(crate) fn outcome(&self, verdict: &Verdict) -> Outcome<'static> {
        match verdict {
            Verdict::Allow(_) => {
                tracing::debug!(client_id = self.shown_id(), route = self.route, "let in");
                Outcome::Allow
            }
            Verdict::Deny(reason) => {
                tracing::info!(
                    client_id = self.shown_id(),
                    reason = reason_name(*reason),
                    route = self.route,
                    policy = %self.policy,
                    "refused"
                );
                Outcome::Deny
            }
            Verdict::Ignore => {
                tracing::info!(
                    client_id = self.shown_id(),
                    reason = "ignore",
                    route = self.route,
                    policy = %self.policy,
                    "refused, unless another authenticator lets it in"
                );
                Outcome::Ignore
            }
        }
    }

    /// The refusal of a login on which there is no verdict.
    pub(crate) fn refuse_for(&self, error: &CallError) -> Outcome<'static> {
        tracing::warn!(
            client_id = self.shown_id(),
            reason = error.kind(),
            error = one_line::chain(error),
            route = self.route,
            policy = %self.policy,
            "refused without a verdict"
        );
        Outcome::NoVerdict
    }

    fn shown_id(&self) -> String {
        one_line::escaped(self.client_id, MOST_SHOWN)
    }
}

/// The reason's name in the contract.
fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientIdentifierNotValid => "client-identifier-not-valid",
        Reason::BadUserNameOrPassword => "bad-user-name-or-password",
        Reason::NotAuthorized => "not-authorized",
        Reason::Banned => "banned",
    }
}
