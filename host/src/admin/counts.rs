//! How many questions came to what, as `/status` tells it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decision::Asked;
use crate::decision::code::Ruling;
use crate::telemetry::counters::{Count, STEPS, Tally};

/// Counts since the gate began.
#[derive(Serialize)]
pub(super) struct Counts {
    /// Logins that were put to the policy.
    #[serde(flatten)]
    logins: Verdicts,
    /// Actions of connected clients that were put to the policy.
    actions: Verdicts,
    /// Why logins were not let in.
    reasons: BTreeMap<&'static str, u64>,
    /// The keys that vouched for logins.
    keys: Vec<Key>,
    /// How long logins took to be judged.
    times: Times,
    /// Refused without asking the policy: what nobody may.
    refused_unasked: u64,
    /// Requests that asked nothing.
    malformed: u64,
    /// Without a verdict because the policy gave a grant that cannot be told to the broker.
    unfit_grants: u64,
}

#[derive(Default, Serialize)]
struct Verdicts {
    /// Calls of the policy.
    calls: u64,
    /// What it said.
    verdicts: Words,
    /// Calls in which it said nothing, all refused.
    no_verdict: u64,
}

#[derive(Default, Serialize)]
struct Words {
    allow: u64,
    deny: u64,
    ignore: u64,
}

#[derive(Serialize)]
struct Key {
    /// None: those that are not told apart.
    id: Option<String>,
    logins: u64,
}

#[derive(Serialize)]
struct Times {
    /// The upper ends of the steps, in microseconds. Beyond the last there is one more.
    up_to_us: [u64; STEPS.len()],
    logins: Vec<u64>,
}

impl Counts {
    pub(super) fn of(tally: &Tally) -> Self {
        let counts = tally.counts();
        let of = |ruling| counts.iter().filter(|count| count.ruling == ruling).map(|count| count.times).sum();
        let mut reasons = BTreeMap::new();
        for count in counts.iter().filter(|count| count.asked == Asked::Login && !count.ruling.reason().is_empty()) {
            *reasons.entry(count.ruling.reason()).or_default() += count.times;
        }
        Self {
            logins: Verdicts::of(&counts, Asked::Login),
            actions: Verdicts::of(&counts, Asked::Action),
            reasons,
            keys: tally.keys().into_iter().map(|(id, logins)| Key { id, logins }).collect(),
            times: Times { up_to_us: STEPS, logins: tally.spent(Asked::Login).steps },
            refused_unasked: of(Ruling::Unasked),
            malformed: tally.malformed(),
            unfit_grants: of(Ruling::UnfitGrant),
        }
    }
}

impl Verdicts {
    fn of(counts: &[Count], asked: Asked) -> Self {
        let mut sum = Self::default();
        for count in counts.iter().filter(|count| count.asked == asked && count.ruling != Ruling::Unasked) {
            sum.calls += count.times;
            *match count.ruling {
                Ruling::Allow => &mut sum.verdicts.allow,
                Ruling::Ignore => &mut sum.verdicts.ignore,
                ruling if ruling.is_fault() => &mut sum.no_verdict,
                _ => &mut sum.verdicts.deny,
            } += count.times;
        }
        sum
    }
}
