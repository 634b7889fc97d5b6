//! Logins per second of the last two hours, for the dashboard.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Seconds that are kept: an operator compares now with an hour ago. They take 230 KB.
const MAX_SECONDS: usize = 2 * 60 * 60;

/// Login counts by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LoginTotals {
    pub(crate) allow: u64,
    pub(crate) deny: u64,
    pub(crate) ignore: u64,
    pub(crate) error: u64,
}

/// The last two hours. Its one writer is the thread of the admin address.
#[derive(Default)]
pub(crate) struct RateHistory(Mutex<Seconds>);

#[derive(Default)]
struct Seconds {
    /// Totals at the end of the newest second.
    totals: LoginTotals,
    /// The newest second, in seconds since 1970.
    newest: u64,
    /// Logins of each second, the oldest first.
    counts: VecDeque<[u32; 4]>,
}

/// Logins of each second, the oldest first. The last one ended at `end`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Rates {
    /// Seconds since 1970.
    pub(crate) end: u64,
    /// Logins up to then: later ones are in no second yet.
    pub(crate) totals: LoginTotals,
    pub(crate) allow: Vec<u32>,
    pub(crate) deny: Vec<u32>,
    pub(crate) ignore: Vec<u32>,
    pub(crate) error: Vec<u32>,
}

impl RateHistory {
    /// Takes note of the totals at `now`, in seconds since 1970. Called about once a second: logins of a second that was
    /// missed count in the next one.
    pub(crate) fn record(&self, totals: LoginTotals, now: u64) {
        let mut seconds = self.lock();
        if now <= seconds.newest && !seconds.counts.is_empty() {
            return;
        }
        let before = seconds.totals;
        let since = |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
        let counts = [
            since(totals.allow, before.allow),
            since(totals.deny, before.deny),
            since(totals.ignore, before.ignore),
            since(totals.error, before.error),
        ];
        let missed = if seconds.counts.is_empty() { 0 } else { now - seconds.newest - 1 };
        for _ in 0..missed.min(MAX_SECONDS as u64) {
            seconds.push([0; 4]);
        }
        seconds.push(counts);
        (seconds.totals, seconds.newest) = (totals, now);
    }

    /// A copy of the last two hours.
    pub(crate) fn snapshot(&self) -> Rates {
        let seconds = self.lock();
        let column =
            |index: usize| seconds.counts.iter().map(|counts| counts.get(index).copied().unwrap_or(0)).collect();
        Rates {
            end: seconds.newest,
            totals: seconds.totals,
            allow: column(0),
            deny: column(1),
            ignore: column(2),
            error: column(3),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seconds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seconds {
    fn push(&mut self, counts: [u32; 4]) {
        if self.counts.len() == MAX_SECONDS {
            self.counts.pop_front();
        }
        self.counts.push_back(counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(allow: u64, deny: u64) -> LoginTotals {
        LoginTotals { allow, deny, ..LoginTotals::default() }
    }

    #[test]
    fn each_second_has_its_logins_and_missed_seconds_are_empty() {
        let history = RateHistory::default();
        assert_eq!(history.snapshot(), Rates::default());
        for (second, allow, deny) in [(100, 5, 0), (101, 7, 1), (101, 8, 1), (104, 10, 1)] {
            history.record(totals(allow, deny), second);
        }
        let rates = history.snapshot();
        assert_eq!((rates.end, rates.allow, rates.deny), (104, vec![5, 2, 0, 0, 3], vec![0, 1, 0, 0, 0]));
    }

    #[test]
    fn two_hours_are_kept_also_after_a_jump_of_the_clock() {
        let history = RateHistory::default();
        for second in 0..8_000 {
            history.record(totals(second, 0), second);
        }
        let rates = history.snapshot();
        assert_eq!((rates.allow.len(), rates.allow.iter().sum::<u32>(), rates.end), (7_200, 7_200, 7_999));
        history.record(totals(8_000, 0), 1_000_000);
        let rates = history.snapshot();
        assert_eq!((rates.allow.len(), rates.allow.iter().sum::<u32>()), (7_200, 1));
        history.record(totals(9_000, 0), 5);
        assert_eq!(history.snapshot().end, 1_000_000, "a clock that was set back waits");
    }
}
