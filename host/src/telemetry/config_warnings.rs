//! What looks wrong in the configuration of the brokers that ask, so that the operator hears of it once and not a
//! million times.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use brokers::{Malformed, Mistake, Route};

/// One finding is told in the log no more often than this.
const QUIET: Duration = Duration::from_secs(60);

/// So many members are told apart in one kind of finding; any name can be sent by anyone. Further ones are one.
const MOST: usize = 8;

/// The longest name of a member that is shown.
const LONGEST: usize = 64;

/// What was found, how often and when. Never tells what a member held.
#[derive(Default)]
pub(crate) struct Findings(Mutex<BTreeMap<Key, Count>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    route: &'static str,
    kind: &'static str,
    member: Option<String>,
}

impl Key {
    /// Whether it differs in the member alone.
    fn is_like(&self, other: &Self) -> bool {
        (self.route, self.kind) == (other.route, other.kind)
    }
}

/// The name of a member as it may be shown: what is no usual name may be anything that a client sent.
fn shown(name: &str) -> String {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let is_name = name.len() <= LONGEST && !name.is_empty() && name.bytes().all(is_usual);
    if is_name { name.to_owned() } else { "(an unusual name)".to_owned() }
}

#[derive(Clone)]
struct Count {
    total: u64,
    /// Of these the log knows.
    told: u64,
    told_at: SystemTime,
    last: SystemTime,
    problem: String,
    remedy: &'static str,
}

/// One finding, for the status.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) route: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) member: Option<String>,
    pub(crate) count: u64,
    pub(crate) last: SystemTime,
    pub(crate) problem: String,
    pub(crate) remedy: &'static str,
}

impl Findings {
    /// Takes note of a request that asks nothing.
    pub(crate) fn malformed(&self, route: &'static str, problem: &Malformed, now: SystemTime) {
        let key = Key { route, kind: problem.kind(), member: problem.member().map(str::to_owned) };
        if let Some(count) = self.note(&key, problem, problem.remedy(), now) {
            tracing::warn!(
                route = key.route,
                kind = key.kind,
                count,
                %problem,
                remedy = problem.remedy(),
                "malformed request"
            );
        }
    }

    /// Takes note of a request that was judged all the same.
    pub(crate) fn mistake(&self, route: Route, mistake: &Mistake, now: SystemTime) {
        let member = mistake.member().map(shown);
        let key = Key { route: route.path(), kind: mistake.kind(), member };
        if let Some(count) = self.note(&key, mistake, mistake.remedy(), now) {
            tracing::warn!(
                route = key.route,
                kind = key.kind,
                member = key.member,
                count,
                problem = %mistake,
                remedy = mistake.remedy(),
                "the broker's configuration looks wrong"
            );
        }
    }

    /// Everything found since the gate began.
    pub(crate) fn all(&self) -> Vec<Finding> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let finding = |(key, count): (&Key, &Count)| Finding {
            route: key.route,
            kind: key.kind,
            member: key.member.clone(),
            count: count.total,
            last: count.last,
            problem: count.problem.clone(),
            remedy: count.remedy,
        };
        counts.iter().map(finding).collect()
    }

    /// How many there were of each kind on each route.
    pub(crate) fn by_kind(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut kinds = BTreeMap::new();
        for finding in self.all() {
            *kinds.entry((finding.route, finding.kind)).or_default() += finding.count;
        }
        kinds
    }

    /// Counts it; how many the log does not know yet, if it is time to tell.
    fn note(&self, key: &Key, problem: impl ToString, remedy: &'static str, now: SystemTime) -> Option<u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counts.contains_key(key) || counts.keys().filter(|other| other.is_like(key)).count() < MOST;
        let key = if known { key.clone() } else { Key { member: None, ..key.clone() } };
        let count = counts.entry(key).or_insert_with(|| Count {
            total: 0,
            told: 0,
            told_at: SystemTime::UNIX_EPOCH,
            last: now,
            problem: problem.to_string(),
            remedy,
        });
        count.total += 1;
        count.last = now;
        // A clock that was set back is no reason to fall silent.
        if now.duration_since(count.told_at).is_ok_and(|passed| passed < QUIET) {
            return None;
        }
        let untold = count.total - count.told;
        (count.told, count.told_at) = (count.total, now);
        Some(untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        START + Duration::from_secs(1_000_000 + seconds)
    }

    fn note(findings: &Findings, member: &str, now: SystemTime) -> Option<u64> {
        let key = Key { route: "/r", kind: "k", member: Some(member.to_owned()) };
        findings.note(&key, "p", "r", now)
    }

    #[test]
    fn one_kind_is_told_once_a_minute_with_its_count() {
        let findings = Findings::default();
        assert_eq!(note(&findings, "a", at(0)), Some(1));
        assert_eq!(note(&findings, "a", at(1)), None);
        assert_eq!(note(&findings, "b", at(1)), Some(1));
        assert_eq!(note(&findings, "a", at(59)), None);
        assert_eq!(note(&findings, "a", at(60)), Some(3));
        assert_eq!(note(&findings, "a", at(61)), None);
        assert_eq!(findings.all().iter().map(|finding| finding.count).collect::<Vec<_>>(), [5, 1]);
    }

    #[test]
    fn a_clock_that_was_set_back_silences_nothing() {
        let findings = Findings::default();
        assert_eq!(note(&findings, "a", at(1_000)), Some(1));
        assert_eq!(note(&findings, "a", at(0)), Some(1));
    }

    #[test]
    fn names_that_anyone_can_make_up_do_not_fill_the_memory() {
        let findings = Findings::default();
        for name in 0..10_000 {
            note(&findings, &name.to_string(), at(0));
        }
        let key = Key { route: "/r", kind: "another", member: Some("found later".to_owned()) };
        findings.note(&key, "p", "r", at(0));
        assert_eq!(findings.all().len(), MOST + 2);
        assert!(findings.all().iter().any(|finding| finding.member.as_deref() == Some("found later")));
        assert_eq!(findings.all().iter().map(|finding| finding.count).sum::<u64>(), 10_001);
    }

    #[test]
    fn a_name_that_may_be_a_secret_is_not_shown() {
        assert_eq!(shown("cert_common-name.1"), "cert_common-name.1");
        for odd in ["", "pw ${SECRET}", "a\nb", "ü", &"x".repeat(65)] {
            assert_eq!(shown(odd), "(an unusual name)");
        }
    }
}
