//! How many questions came to what.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use brokers::Outcome;
use serde::Serialize;

use crate::policy::CallError;

/// Counts of requests by what came of them, since the gate began.
#[derive(Default)]
pub(crate) struct Tally {
    logins: Counters,
    actions: Counters,
    refused_unasked: AtomicU64,
    malformed: AtomicU64,
    unfit_grants: AtomicU64,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// May a client connect?
    Login,
    /// May a connected client do something?
    Action,
    /// Nothing that the policy had to be asked.
    Nothing,
}

#[derive(Default)]
struct Counters {
    allow: AtomicU64,
    deny: AtomicU64,
    ignore: AtomicU64,
    no_verdict: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Counts {
    /// Logins that were put to the policy.
    #[serde(flatten)]
    pub(crate) logins: Verdicts,
    /// Actions of connected clients that were put to the policy.
    pub(crate) actions: Verdicts,
    /// Refused without asking the policy: what nobody may.
    pub(crate) refused_unasked: u64,
    /// Requests that asked nothing.
    pub(crate) malformed: u64,
    /// Logins without a verdict because the policy gave a grant that cannot be told to the broker.
    pub(crate) unfit_grants: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Verdicts {
    /// Calls of the policy.
    pub(crate) calls: u64,
    /// What it said.
    pub(crate) verdicts: Words,
    /// Calls in which it said nothing, all refused.
    pub(crate) no_verdict: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Words {
    pub(crate) allow: u64,
    pub(crate) deny: u64,
    pub(crate) ignore: u64,
}

impl Tally {
    pub(crate) fn count(&self, asked: Asked, outcome: &Outcome) {
        let counter = match (asked, outcome) {
            (_, Outcome::Malformed(_)) => &self.malformed,
            (Asked::Nothing, _) => &self.refused_unasked,
            (Asked::Login, outcome) => self.logins.counter(outcome),
            (Asked::Action, outcome) => self.actions.counter(outcome),
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_fault(&self, fault: Option<&CallError>) {
        if matches!(fault, Some(CallError::UnfitGrant(_))) {
            self.unfit_grants.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            logins: self.logins.verdicts(),
            actions: self.actions.verdicts(),
            refused_unasked: self.refused_unasked.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            unfit_grants: self.unfit_grants.load(Relaxed),
        }
    }
}

impl Counters {
    fn counter(&self, outcome: &Outcome) -> &AtomicU64 {
        match outcome {
            Outcome::Allow(_) => &self.allow,
            Outcome::Deny => &self.deny,
            Outcome::Ignore => &self.ignore,
            Outcome::NoVerdict | Outcome::Malformed(_) => &self.no_verdict,
        }
    }

    fn verdicts(&self) -> Verdicts {
        let (allow, deny, ignore) = (self.allow.load(Relaxed), self.deny.load(Relaxed), self.ignore.load(Relaxed));
        let no_verdict = self.no_verdict.load(Relaxed);
        Verdicts { calls: allow + deny + ignore + no_verdict, verdicts: Words { allow, deny, ignore }, no_verdict }
    }
}
