//! How many logins came to what.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// Counts of requests by what came of them, since the gate began.
#[derive(Default)]
pub(crate) struct Tally {
    allow: AtomicU64,
    deny: AtomicU64,
    ignore: AtomicU64,
    no_verdict: AtomicU64,
    malformed: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Counts {
    /// Logins that were put to the policy.
    pub(crate) calls: u64,
    /// What it said.
    pub(crate) verdicts: Verdicts,
    /// Logins it had no verdict on, all refused.
    pub(crate) no_verdict: u64,
    /// Requests that were none for a login.
    pub(crate) malformed: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Verdicts {
    pub(crate) allow: u64,
    pub(crate) deny: u64,
    pub(crate) ignore: u64,
}

impl Tally {
    pub(crate) fn count(&self, outcome: &brokers::Outcome) {
        let counter = match outcome {
            brokers::Outcome::Allow => &self.allow,
            brokers::Outcome::Deny => &self.deny,
            brokers::Outcome::Ignore => &self.ignore,
            brokers::Outcome::NoVerdict => &self.no_verdict,
            brokers::Outcome::Malformed(_) => &self.malformed,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let (allow, deny, ignore) = (self.allow.load(Relaxed), self.deny.load(Relaxed), self.ignore.load(Relaxed));
        let no_verdict = self.no_verdict.load(Relaxed);
        Counts {
            calls: allow + deny + ignore + no_verdict,
            verdicts: Verdicts { allow, deny, ignore },
            no_verdict,
            malformed: self.malformed.load(Relaxed),
        }
    }
}
