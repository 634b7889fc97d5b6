//! Counters of one tenant: few, so that a gate can have thousands of tenants.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::decision::{Decision, Operation};

/// The verdicts that are counted, in the order of their counters.
const VERDICTS: [&str; 4] = ["allow", "deny", "ignore", "error"];

/// Decisions of one tenant by operation and verdict.
#[derive(Default)]
pub(crate) struct TenantCounters([[AtomicU64; VERDICTS.len()]; Operation::ALL.len()]);

/// A counter that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TenantCount {
    pub(crate) operation: Operation,
    pub(crate) verdict: &'static str,
    pub(crate) count: u64,
}

impl TenantCounters {
    pub(crate) fn record(&self, decision: &Decision) {
        let verdict = decision.code.verdict();
        let index = VERDICTS.iter().position(|known| *known == verdict);
        let counters = self.0.get(decision.operation.index());
        if let Some(counter) = index.zip(counters).and_then(|(index, counters)| counters.get(index)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Every counter that is not zero.
    pub(crate) fn counts(&self) -> impl Iterator<Item = TenantCount> {
        let count = |(operation, counters): (Operation, &'_ [AtomicU64; VERDICTS.len()])| {
            let counts = counters.each_ref().map(|counter| counter.load(Relaxed));
            VERDICTS.into_iter().zip(counts).map(move |(verdict, count)| TenantCount { operation, verdict, count })
        };
        Operation::ALL.into_iter().zip(&self.0).flat_map(count).filter(|count| count.count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::DecisionCode;
    use crate::telemetry::tests::decision;

    #[test]
    fn decisions_are_counted_by_operation_and_verdict() {
        let counters = TenantCounters::default();
        for code in [DecisionCode::Allow, DecisionCode::Allow, DecisionCode::Banned, DecisionCode::Trap] {
            counters.record(&decision(code));
        }
        let mut action = decision(DecisionCode::Ignore);
        action.operation = Operation::Authorize;
        counters.record(&action);
        let counts: Vec<_> = counters.counts().map(|it| (it.operation.name(), it.verdict, it.count)).collect();
        let expected = [
            ("authenticate", "allow", 2),
            ("authenticate", "deny", 1),
            ("authenticate", "error", 1),
            ("authorize", "ignore", 1),
        ];
        assert_eq!(counts, expected);
    }
}
