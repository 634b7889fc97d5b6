//! Counters of decisions, and histograms of their durations.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use brokers::Route;
use mqtt_gate_engine::Digest;
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::util::thread_index::{self, THREADS};

use super::rate_history::LoginTotals;
use crate::decision::{Decision, DecisionCode, Operation};
use crate::util::label_set::LabelSet;

/// Distinct policies, keys and details with counters of their own, to bound memory and metrics. The rest share one counter.
pub(crate) const MAX_LABEL_VALUES: usize = 15;

/// Upper bounds of the buckets of a histogram, in microseconds. One more bucket follows the last bound.
pub(crate) const BUCKETS_US: [u64; 19] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000,
];

const ROUTES: usize = Route::ALL.len();
const CODES: usize = DecisionCode::ALL.len();
const OPERATIONS: usize = Operation::ALL.len();

/// Index of the policies, keys and details that share a counter.
const OTHERS: usize = MAX_LABEL_VALUES;

/// Counters since the gate started.
///
/// Threads count in separate shards, so that workers do not contend for cache lines. There are as many shards as the
/// engine has for its instances (64): a shard has about 70 KB and is allocated when its thread first counts. With more
/// than 64 threads some share a shard, which costs time and no counts.
///
/// A scrape sums the shards that are in use: for 4 workers and one policy about 3,000 loads.
pub(crate) struct DecisionMetrics {
    shards: [OnceLock<Box<Shard>>; THREADS],
    policies: LabelSet<(Name, Digest), MAX_LABEL_VALUES>,
    keys: LabelSet<String, MAX_LABEL_VALUES>,
    details: LabelSet<String, MAX_LABEL_VALUES>,
}

#[derive(Default)]
struct Shard {
    /// By policy, route, operation and code.
    decisions: [[[[AtomicU64; CODES]; OPERATIONS]; ROUTES]; MAX_LABEL_VALUES + 1],
    logins_by_key: [AtomicU64; MAX_LABEL_VALUES + 1],
    denials_by_detail: [AtomicU64; MAX_LABEL_VALUES + 1],
    malformed: AtomicU64,
    durations: [Histogram; OPERATIONS],
}

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    sum_ns: AtomicU64,
}

/// A counter of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecisionCount {
    /// Name and digest. `None`: no policy was called, it is a tenant's, or it is beyond the bound of labels.
    pub(crate) policy: Option<(Name, Digest)>,
    pub(crate) route: Route,
    pub(crate) operation: Operation,
    pub(crate) code: DecisionCode,
    pub(crate) count: u64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HistogramSnapshot {
    /// Counts of the buckets of [`BUCKETS_US`] and of the last one. Not cumulative.
    pub(crate) buckets: Vec<u64>,
    /// Sum of all durations.
    pub(crate) sum: Duration,
}

impl Default for DecisionMetrics {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| OnceLock::new()),
            policies: LabelSet::default(),
            keys: LabelSet::default(),
            details: LabelSet::default(),
        }
    }
}

impl DecisionMetrics {
    pub(crate) fn record(&self, decision: &Decision) {
        let Some(shard) = self.shard() else { return };
        // Tenants have counters of their own, and must not use up the labels.
        let is_of_gate = decision.tenant.is_none();
        let policy = (decision.policy.name, decision.policy.digest);
        let policy = if is_of_gate { self.policies.index_of(&policy) } else { OTHERS };
        increment(shard.decision(policy, decision.route, decision.operation, decision.code));
        if let Some(histogram) = shard.durations.get(decision.operation.index()) {
            histogram.record(decision.duration);
        }
        if decision.code == DecisionCode::Allow
            && let Some(key) = &decision.key_id
        {
            let key = if is_of_gate { self.keys.index_of(key.as_str()) } else { OTHERS };
            increment(shard.logins_by_key.get(key));
        }
        if let Some(detail) = &decision.detail {
            increment(shard.denials_by_detail.get(self.details.index_of(detail.as_str())));
        }
    }

    /// Counts a request that is always denied, without a call of the policy.
    pub(crate) fn record_always_denied(&self, route: Route) {
        let Some(shard) = self.shard() else { return };
        increment(shard.decision(OTHERS, route, Operation::Authorize, DecisionCode::AlwaysDenied));
    }

    /// Counts a request that cannot be parsed.
    pub(crate) fn record_malformed(&self) {
        increment(self.shard().map(|shard| &shard.malformed));
    }

    /// Every counter of decisions that is not zero.
    pub(crate) fn counts(&self) -> Vec<DecisionCount> {
        let policies = self.policies.iter().copied().map(Some).enumerate().chain([(OTHERS, None)]);
        let mut counts = Vec::new();
        for (index, policy) in policies {
            for route in Route::ALL {
                for operation in Operation::ALL {
                    for code in DecisionCode::ALL {
                        let count = self.sum(|shard| shard.decision(index, route, operation, code));
                        counts.push(DecisionCount { policy, route, operation, code, count });
                    }
                }
            }
        }
        counts.retain(|count| count.count > 0);
        counts
    }

    /// Logins by verdict, of all policies and routes. Cheap enough for every second.
    pub(crate) fn login_totals(&self) -> LoginTotals {
        let mut totals = LoginTotals::default();
        let operation = Operation::Authenticate.index();
        for shard in self.shards.iter().filter_map(|shard| shard.get()) {
            for codes in shard.decisions.iter().flatten().filter_map(|operations| operations.get(operation)) {
                for (code, count) in DecisionCode::ALL.into_iter().zip(codes) {
                    let total = match code {
                        DecisionCode::Allow => &mut totals.allow,
                        DecisionCode::Ignore => &mut totals.ignore,
                        code if code.is_error() => &mut totals.error,
                        _ => &mut totals.deny,
                    };
                    *total += count.load(Relaxed);
                }
            }
        }
        totals
    }

    /// Allowed logins by signing key. `None`: the keys beyond the bound of labels.
    pub(crate) fn logins_by_key(&self) -> Vec<(Option<String>, u64)> {
        let keys = self.keys.iter().cloned().map(Some).enumerate().chain([(OTHERS, None)]);
        let count = |(index, key)| (key, self.sum(|shard| shard.logins_by_key.get(index)));
        keys.map(count).filter(|(_, logins)| *logins > 0).collect()
    }

    /// Denied logins by the policy's own code. `None`: the codes beyond the bound of labels.
    pub(crate) fn denials_by_detail(&self) -> Vec<(Option<String>, u64)> {
        let details = self.details.iter().cloned().map(Some).enumerate().chain([(OTHERS, None)]);
        let count = |(index, detail)| (detail, self.sum(|shard| shard.denials_by_detail.get(index)));
        details.map(count).filter(|(_, denials)| *denials > 0).collect()
    }

    /// Requests that could not be parsed.
    pub(crate) fn malformed(&self) -> u64 {
        self.sum(|shard| Some(&shard.malformed))
    }

    /// Durations of decisions.
    pub(crate) fn durations(&self, operation: Operation) -> HistogramSnapshot {
        let bucket = |index| self.sum(|shard| shard.durations.get(operation.index())?.buckets.get(index));
        let sum_ns = self.sum(|shard| shard.durations.get(operation.index()).map(|histogram| &histogram.sum_ns));
        HistogramSnapshot { buckets: (0..=BUCKETS_US.len()).map(bucket).collect(), sum: Duration::from_nanos(sum_ns) }
    }

    fn shard(&self) -> Option<&Shard> {
        Some(self.shards.get(thread_index::current())?.get_or_init(Box::default))
    }

    fn sum(&self, counter: impl Fn(&Shard) -> Option<&AtomicU64>) -> u64 {
        let shards = self.shards.iter().filter_map(|shard| shard.get());
        shards.filter_map(|shard| counter(shard)).map(|counter| counter.load(Relaxed)).sum()
    }
}

impl Shard {
    fn decision(&self, policy: usize, route: Route, operation: Operation, code: DecisionCode) -> Option<&AtomicU64> {
        self.decisions.get(policy)?.get(route as usize)?.get(operation.index())?.get(code.index())
    }
}

impl Histogram {
    fn record(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.iter().position(|bound| ns <= bound * 1_000).unwrap_or(BUCKETS_US.len());
        increment(self.buckets.get(bucket));
        self.sum_ns.fetch_add(ns, Relaxed);
    }
}

fn increment(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::tests::decision;

    fn decision_of(policy: &[u8], code: DecisionCode, key_id: &str) -> Decision {
        let mut decision = decision(code);
        decision.policy.digest = Digest::of(policy);
        decision.key_id = Some(key_id.to_owned());
        decision
    }

    #[test]
    fn counts_of_all_threads_are_summed() {
        let metrics = DecisionMetrics::default();
        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| metrics.record(&decision_of(b"a", DecisionCode::Allow, "2026-11")));
            }
        });
        metrics.record(&decision_of(b"a", DecisionCode::Banned, "2026-11"));
        let count = |code, count| DecisionCount {
            policy: Some((Name::new("policy").unwrap(), Digest::of(b"a"))),
            route: Route::EmqxAuth,
            operation: Operation::Authenticate,
            code,
            count,
        };
        assert_eq!(metrics.counts(), [count(DecisionCode::Allow, 100), count(DecisionCode::Banned, 1)]);
        assert_eq!(metrics.logins_by_key(), [(Some("2026-11".to_owned()), 100)]);
        let durations = metrics.durations(Operation::Authenticate);
        let buckets = &durations.buckets;
        // 3.2 µs each.
        assert_eq!((buckets.iter().sum(), buckets[2], durations.sum), (101, 101, Duration::from_nanos(323_200)));
        assert_eq!(metrics.durations(Operation::Authorize).sum, Duration::ZERO);
    }

    #[test]
    fn policies_and_keys_beyond_the_bound_share_a_counter() {
        let metrics = DecisionMetrics::default();
        for number in 0..1_000_u32 {
            let name = number.to_string();
            metrics.record(&decision_of(name.as_bytes(), DecisionCode::Allow, &name));
        }
        metrics.record(&decision_of(b"0", DecisionCode::Allow, "one more"));
        let (counts, keys) = (metrics.counts(), metrics.logins_by_key());
        assert_eq!((counts.len(), keys.len()), (16, 16));
        assert_eq!(counts.iter().map(|count| count.count).sum::<u64>(), 1_001);
        assert_eq!(keys.last(), Some(&(None, 986)));
    }

    #[test]
    fn details_are_counted_up_to_a_bound() {
        let metrics = DecisionMetrics::default();
        for number in 0..20 {
            let detail = Some(format!("detail-{number}"));
            metrics.record(&Decision { detail, ..decision(DecisionCode::Banned) });
        }
        metrics.record(&decision(DecisionCode::Banned));
        let details = metrics.denials_by_detail();
        assert_eq!(
            (details.len(), &details[0], details.last()),
            (16, &(Some("detail-0".to_owned()), 1), Some(&(None, 5)))
        );
    }

    #[test]
    fn requests_without_a_call_of_the_policy_are_counted_apart() {
        let metrics = DecisionMetrics::default();
        metrics.record_always_denied(Route::EmqxAuth);
        metrics.record_malformed();
        let counts = metrics.counts();
        let [count] = &counts[..] else { panic!("{counts:?}") };
        assert_eq!((count.policy, count.code, count.count), (None, DecisionCode::AlwaysDenied, 1));
        assert_eq!(metrics.malformed(), 1);
    }

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for ns in [0, 1_000, 1_001, 1_000_000_000, 1_000_000_001, u64::MAX] {
            histogram.record(Duration::from_nanos(ns));
        }
        let buckets: Vec<u64> = histogram.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        assert_eq!((buckets[0], buckets[1], buckets[18], buckets[19]), (2, 1, 1, 2));
    }

    #[test]
    fn every_route_has_its_index() {
        for (index, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, index);
        }
    }
}
