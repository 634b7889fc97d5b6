//! How many questions came to what, and how long they took.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use brokers::Route;

use crate::decision::{Asked, Decision};
use mqtt_gate_engine::policy::Digest;
use crate::decision::code::Ruling;
use crate::util::label_set::Slots;
use mqtt_gate_engine::util::thread_index::{self, THREADS};

/// So many policies and keys are told apart; what comes after them is counted together.
pub(crate) const MOST_TOLD_APART: usize = 15;

/// The upper ends of the steps in which times are counted, in microseconds; beyond the last there is one more.
pub(crate) const STEPS: [u64; 19] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000,
];

/// Counts of questions by what came of them, since the gate began.
///
/// Each thread counts on a sheet of its own, so that none waits for what another writes.
pub(crate) struct Tally {
    sheets: [OnceLock<Box<Sheet>>; THREADS],
    policies: Slots<Digest, MOST_TOLD_APART>,
    keys: Slots<String, MOST_TOLD_APART>,
}

#[derive(Default)]
struct Sheet {
    /// By policy, route, what was asked and ruling.
    rulings: [[[Row; 2]; ROUTES]; MOST_TOLD_APART + 1],
    keys: [AtomicU64; MOST_TOLD_APART + 1],
    malformed: AtomicU64,
    times: [Times; 2],
}

const ROUTES: usize = Route::ALL.len();

type Row = [AtomicU64; Ruling::ALL.len()];

#[derive(Default)]
struct Times {
    steps: [AtomicU64; STEPS.len() + 1],
    nanoseconds: AtomicU64,
}

/// How often something came of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    /// `None`: no policy was asked, or one of those that are not told apart.
    pub(crate) policy: Option<Digest>,
    pub(crate) route: Route,
    pub(crate) asked: Asked,
    pub(crate) ruling: Ruling,
    pub(crate) times: u64,
}

/// How long questions took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    /// How many took no longer than each of [`STEPS`] and longer than the one before; and the rest.
    pub(crate) steps: Vec<u64>,
    /// All of them together.
    pub(crate) time: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        Self { sheets: std::array::from_fn(|_| OnceLock::new()), policies: Slots::default(), keys: Slots::default() }
    }
}

impl Tally {
    pub(crate) fn count(&self, decision: &Decision) {
        let Some(sheet) = self.sheet() else { return };
        sheet.count(self.policies.place(&decision.by.digest), decision.route, decision.asked, decision.ruling);
        if let Some(times) = sheet.times.get(decision.asked.number()) {
            times.note(decision.took);
        }
        if decision.ruling == Ruling::Allow
            && let Some(key) = decision.key_id
        {
            add_one(sheet.keys.get(self.keys.place(key)));
        }
    }

    /// Counts a question that no policy was asked, because nobody may.
    pub(crate) fn count_unasked(&self, route: Route) {
        if let Some(sheet) = self.sheet() {
            sheet.count(MOST_TOLD_APART, route, Asked::Action, Ruling::Unasked);
        }
    }

    /// Counts a request that asked nothing.
    pub(crate) fn count_malformed(&self) {
        add_one(self.sheet().map(|sheet| &sheet.malformed));
    }

    /// What has been counted, without what is nought.
    pub(crate) fn counts(&self) -> Vec<Count> {
        let policies: Vec<Digest> = self.policies.all().copied().collect();
        let mut counts = Vec::new();
        for policy in 0..=MOST_TOLD_APART {
            for route in Route::ALL {
                for (asked, ruling) in
                    Asked::ALL.into_iter().flat_map(|asked| Ruling::ALL.map(|ruling| (asked, ruling)))
                {
                    let times = self.sum(|sheet| sheet.counter(policy, route, asked, ruling));
                    let policy = policies.get(policy).copied();
                    counts.push(Count { policy, route, asked, ruling, times });
                }
            }
        }
        counts.retain(|count| count.times > 0);
        counts
    }

    /// The keys that vouched for logins, and how often each. `None`: those that are not told apart.
    pub(crate) fn keys(&self) -> Vec<(Option<String>, u64)> {
        let names: Vec<String> = self.keys.all().cloned().collect();
        let count = |place: usize| (names.get(place).cloned(), self.sum(|sheet| sheet.keys.get(place)));
        (0..=MOST_TOLD_APART).map(count).filter(|(_, times)| *times > 0).collect()
    }

    /// Requests that asked nothing.
    pub(crate) fn malformed(&self) -> u64 {
        self.sum(|sheet| Some(&sheet.malformed))
    }

    /// How long questions took.
    pub(crate) fn spent(&self, asked: Asked) -> Spent {
        let step = |at| self.sum(move |sheet| sheet.times.get(asked.number())?.steps.get(at));
        let nanoseconds = self.sum(move |sheet| sheet.times.get(asked.number()).map(|times| &times.nanoseconds));
        Spent { steps: (0..=STEPS.len()).map(step).collect(), time: Duration::from_nanos(nanoseconds) }
    }

    fn sheet(&self) -> Option<&Sheet> {
        Some(self.sheets.get(thread_index::place())?.get_or_init(Box::default))
    }

    fn sum(&self, counter: impl Fn(&Sheet) -> Option<&AtomicU64>) -> u64 {
        let sheets = self.sheets.iter().filter_map(|sheet| sheet.get());
        sheets.filter_map(|sheet| counter(sheet)).map(|counter| counter.load(Relaxed)).sum()
    }
}

impl Sheet {
    fn count(&self, policy: usize, route: Route, asked: Asked, ruling: Ruling) {
        add_one(self.counter(policy, route, asked, ruling));
    }

    fn counter(&self, policy: usize, route: Route, asked: Asked, ruling: Ruling) -> Option<&AtomicU64> {
        self.rulings.get(policy)?.get(route as usize)?.get(asked.number())?.get(ruling.number())
    }
}

impl Times {
    fn note(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let step = STEPS.iter().position(|step| nanoseconds <= step * 1_000).unwrap_or(STEPS.len());
        add_one(self.steps.get(step));
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }
}

fn add_one(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::decision::evaluate::By;

    fn decision(policy: &[u8], ruling: Ruling, key_id: Option<&'static str>) -> Decision<'static> {
        Decision {
            asked: Asked::Login,
            route: Route::EmqxAuth,
            client_id: "c",
            ruling,
            by: By { digest: Digest::of(policy), generation: 1 },
            key_id,
            at: SystemTime::UNIX_EPOCH,
            took: Duration::from_micros(3),
        }
    }

    #[test]
    fn what_is_counted_is_found_again_whichever_thread_counted_it() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| tally.count(&decision(b"a", Ruling::Allow, Some("2026-11"))));
            }
        });
        tally.count(&decision(b"a", Ruling::Banned, Some("2026-11")));
        let policy = Some(Digest::of(b"a"));
        let count = |ruling, times| Count { policy, route: Route::EmqxAuth, asked: Asked::Login, ruling, times };
        assert_eq!(tally.counts(), [count(Ruling::Allow, 100), count(Ruling::Banned, 1)]);
        assert_eq!(tally.keys(), [(Some("2026-11".to_owned()), 100)]);
        let spent = tally.spent(Asked::Login);
        assert_eq!((spent.steps.iter().sum(), spent.steps[2], spent.time), (101, 101, Duration::from_micros(303)));
        assert_eq!(tally.spent(Asked::Action).time, Duration::ZERO);
    }

    #[test]
    fn policies_and_keys_without_end_are_told_apart_to_an_end() {
        let tally = Tally::default();
        for number in 0..1_000_u32 {
            let name: &'static str = number.to_string().leak();
            tally.count(&decision(name.as_bytes(), Ruling::Allow, Some(name)));
        }
        tally.count(&decision(b"0", Ruling::Allow, Some("one more")));
        let (counts, keys) = (tally.counts(), tally.keys());
        assert_eq!((counts.len(), keys.len()), (16, 16));
        assert_eq!(counts.iter().map(|count| count.times).sum::<u64>(), 1_001);
        assert_eq!(keys.last(), Some(&(None, 986)));
    }

    #[test]
    fn every_route_has_its_place() {
        for (place, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, place);
        }
    }
}
