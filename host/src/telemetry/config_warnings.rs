//! Malformed requests and probable mistakes in the configuration of brokers: counted each, logged once a minute.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use brokers::{ADMIN_ADDRESS, ConfigWarning, RequestError, Route, UNMATCHED_ROUTE};
use mqtt_gate_engine::util::sanitize;

/// A broker repeats the same mistake with every login.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// A warning is over if its route had this many right requests since the last wrong one, ...
const RIGHT_REQUESTS: u32 = 32;

/// ... and the last wrong one was this long ago: another broker on the route may send the right ones.
const RIGHT_TIME: Duration = Duration::from_secs(60);

/// Longest part of a path that is shown.
const MAX_SEGMENT_CHARS: usize = 32;

/// Distinct fields of one kind of warning. Clients can invent field names; further ones are counted together.
const MAX_FIELDS: usize = 8;

/// Longer names are not names of fields that a broker sends.
const MAX_FIELD_NAME: usize = 64;

/// Warnings with their counts and times. Never contains the value of a field.
#[derive(Default)]
pub(crate) struct ConfigWarnings {
    entries: Mutex<BTreeMap<Key, Entry>>,
    /// Whether a warning waits for right requests, so that they have to be counted.
    waits_for_right_requests: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    route: &'static str,
    kind: &'static str,
    field: Option<String>,
}

impl Key {
    fn differs_only_in_field(&self, other: &Self) -> bool {
        (self.route, self.kind) == (other.route, other.kind)
    }
}

struct Entry {
    count: u64,
    /// Requests that the log has reported.
    logged: u64,
    logged_at: SystemTime,
    last: SystemTime,
    /// Right requests since the last wrong one, up to [`RIGHT_REQUESTS`].
    right: u32,
    problem: String,
    hint: &'static str,
}

impl Entry {
    fn is_current(&self, now: SystemTime) -> bool {
        // A clock that was set back must not end a warning.
        let is_recent = now.duration_since(self.last).map_or(true, |age| age < RIGHT_TIME);
        is_recent || self.right < RIGHT_REQUESTS
    }
}

/// One warning, for the status.
#[derive(Clone, Debug)]
pub(crate) struct WarningCount {
    pub(crate) route: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) field: Option<String>,
    pub(crate) count: u64,
    /// Time of the last request.
    pub(crate) last: SystemTime,
    /// Whether requests have not been right since then.
    pub(crate) is_current: bool,
    pub(crate) problem: String,
    pub(crate) hint: &'static str,
}

impl ConfigWarnings {
    /// Records a request that cannot be parsed.
    pub(crate) fn record_malformed(&self, route: &'static str, error: &RequestError, now: SystemTime) {
        let key = Key { route, kind: error.kind(), field: error.field().map(str::to_owned) };
        if let Some(count) = self.record(&key, error, error.hint(), now) {
            tracing::warn!(route, kind = key.kind, count, problem = %error, hint = error.hint(), "malformed request");
        }
    }

    /// Records a probable mistake in a request that was evaluated nevertheless.
    pub(crate) fn record_warning(&self, route: Route, warning: &ConfigWarning, now: SystemTime) {
        let route = route.path();
        let key = Key { route, kind: warning.kind(), field: warning.field().map(displayable_field) };
        if let Some(count) = self.record(&key, warning, warning.hint(), now) {
            tracing::warn!(
                route,
                kind = key.kind,
                field = key.field,
                count,
                problem = %warning,
                hint = warning.hint(),
                "broker configuration warning"
            );
        }
    }

    /// Records a request to a path that is not a route.
    pub(crate) fn record_unrouted(&self, path: &str, now: SystemTime) {
        let (route, error, path) = (UNMATCHED_ROUTE, RequestError::Route, displayable_path(path));
        let key = Key { route, kind: error.kind(), field: Some(path.clone()) };
        if let Some(count) = self.record(&key, &error, error.hint(), now) {
            tracing::warn!(path, kind = key.kind, count, problem = %error, hint = error.hint(), "malformed request");
        }
    }

    /// Takes note of a request without a mistake on a route. It brings the warnings of the route to their end, and those
    /// about wrong paths, except those in `mistakes`.
    pub(crate) fn record_right(&self, route: Route, mistakes: &[ConfigWarning]) {
        if !self.waits_for_right_requests.load(Relaxed) {
            return;
        }
        let mut waits = false;
        for (key, entry) in &mut *self.entries() {
            let is_mistake = || mistakes.iter().any(|mistake| mistake.kind() == key.kind);
            let is_about_route = key.route == route.path() || [UNMATCHED_ROUTE, ADMIN_ADDRESS].contains(&key.route);
            if entry.right < RIGHT_REQUESTS && is_about_route && !is_mistake() {
                entry.right += 1;
            }
            waits |= entry.right < RIGHT_REQUESTS;
        }
        self.waits_for_right_requests.store(waits, Relaxed);
    }

    /// All warnings since the gate started.
    pub(crate) fn snapshot(&self, now: SystemTime) -> Vec<WarningCount> {
        let warning = |(key, entry): (&Key, &Entry)| WarningCount {
            route: key.route,
            kind: key.kind,
            field: key.field.clone(),
            count: entry.count,
            last: entry.last,
            is_current: entry.is_current(now),
            problem: entry.problem.clone(),
            hint: entry.hint,
        };
        self.entries().iter().map(warning).collect()
    }

    /// Counts of warnings by route and kind.
    pub(crate) fn counts_by_kind(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut counts = BTreeMap::new();
        for (key, entry) in &*self.entries() {
            *counts.entry((key.route, key.kind)).or_default() += entry.count;
        }
        counts
    }

    /// Counts a warning. Returns the number of requests since the last log line if it is time for the next one.
    fn record(&self, key: &Key, problem: impl ToString, hint: &'static str, now: SystemTime) -> Option<u64> {
        let mut entries = self.entries();
        let has_room = || entries.keys().filter(|other| other.differs_only_in_field(key)).count() < MAX_FIELDS;
        let key =
            if entries.contains_key(key) || has_room() { key.clone() } else { Key { field: None, ..key.clone() } };
        let entry = entries.entry(key).or_insert_with(|| Entry {
            count: 0,
            logged: 0,
            logged_at: SystemTime::UNIX_EPOCH,
            last: now,
            right: 0,
            problem: problem.to_string(),
            hint,
        });
        entry.count += 1;
        entry.last = now;
        entry.right = 0;
        self.waits_for_right_requests.store(true, Relaxed);
        // A clock that was set back must not silence the log: `duration_since` fails then.
        if now.duration_since(entry.logged_at).is_ok_and(|elapsed| elapsed < LOG_INTERVAL) {
            return None;
        }
        let unlogged = entry.count - entry.logged;
        (entry.logged, entry.logged_at) = (entry.count, now);
        Some(unlogged)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A field name as it may be shown. An unusual name may be anything that a client sent.
fn displayable_field(name: &str) -> String {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let is_name = (1..=MAX_FIELD_NAME).contains(&name.len()) && name.bytes().all(is_usual);
    if is_name { name.to_owned() } else { "(unusual name)".to_owned() }
}

/// A path as it may be shown: two segments of it. A broker may put fields of a client into further ones.
fn displayable_path(path: &str) -> String {
    let mut segments = path.split('/');
    let shown: Vec<_> = segments.by_ref().take(3).map(|segment| sanitize::escape(segment, MAX_SEGMENT_CHARS)).collect();
    let rest = match segments.next() {
        None => "",
        Some("") if segments.next().is_none() => "/",
        Some(_) => "/…",
    };
    format!("{}{rest}", shown.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn record(warnings: &ConfigWarnings, field: &str, now: SystemTime) -> Option<u64> {
        let key = Key { route: "/r", kind: "k", field: Some(field.to_owned()) };
        warnings.record(&key, "p", "h", now)
    }

    fn counts(warnings: &ConfigWarnings) -> Vec<u64> {
        warnings.snapshot(at(0)).iter().map(|warning| warning.count).collect()
    }

    #[test]
    fn a_warning_is_logged_once_a_minute_with_its_count() {
        let warnings = ConfigWarnings::default();
        assert_eq!(record(&warnings, "a", at(0)), Some(1));
        assert_eq!(record(&warnings, "a", at(1)), None);
        assert_eq!(record(&warnings, "b", at(1)), Some(1));
        assert_eq!(record(&warnings, "a", at(59)), None);
        assert_eq!(record(&warnings, "a", at(60)), Some(3));
        assert_eq!(record(&warnings, "a", at(61)), None);
        assert_eq!(counts(&warnings), [5, 1]);
        assert_eq!(warnings.counts_by_kind(), BTreeMap::from([(("/r", "k"), 6)]));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_silence_the_log() {
        let warnings = ConfigWarnings::default();
        assert_eq!(record(&warnings, "a", at(1_000)), Some(1));
        assert_eq!(record(&warnings, "a", at(0)), Some(1));
    }

    #[test]
    fn a_warning_is_over_after_right_requests_and_some_time() {
        let (warnings, route) = (ConfigWarnings::default(), Route::EmqxAuth);
        let is_current = |now| warnings.snapshot(now)[0].is_current;
        let right = |count| (0..count).for_each(|_| warnings.record_right(route, &[]));
        warnings.record_warning(route, &ConfigWarning::LooksLikeEmqx4, at(0));
        assert!(is_current(at(0)) && is_current(at(3600)), "without requests nothing is known to be right");
        right(RIGHT_REQUESTS);
        assert!(is_current(at(59)) && !is_current(at(60)));
        assert!(!warnings.waits_for_right_requests.load(Relaxed));
        warnings.record_warning(route, &ConfigWarning::LooksLikeEmqx4, at(100));
        right(RIGHT_REQUESTS - 1);
        assert!(is_current(at(200)), "one is missing");
        warnings.record_right(Route::Vernemq, &[]);
        warnings.record_right(route, &[ConfigWarning::LooksLikeEmqx4]);
        assert!(is_current(at(200)), "another route, and the same mistake");
        right(1);
        assert!(!is_current(at(200)) && is_current(at(50)), "a clock that was set back ends no warning");
    }

    #[test]
    fn a_wrong_path_is_shown_without_what_a_client_may_have_sent() {
        for (path, shown) in [
            ("/emqx/login", "/emqx/login"),
            ("/emqx/auth/", "/emqx/auth/"),
            ("/EMQX/auth", "/EMQX/auth"),
            ("/auth", "/auth"),
            ("/", "/"),
            ("/emqx/auth/user/s3cret", "/emqx/auth/…"),
            ("/emqx/auth//", "/emqx/auth/…"),
            ("/a\u{1b}b", "/a\\u{1b}b"),
            (&format!("/{}", "x".repeat(40)), &format!("/{}…", "x".repeat(32))),
        ] {
            assert_eq!(displayable_path(path), shown);
        }
    }

    #[test]
    fn invented_field_names_do_not_fill_the_memory() {
        let warnings = ConfigWarnings::default();
        for name in 0..10_000 {
            record(&warnings, &name.to_string(), at(0));
        }
        let key = Key { route: "/r", kind: "another", field: Some("recorded later".to_owned()) };
        warnings.record(&key, "p", "h", at(0));
        assert_eq!(counts(&warnings).len(), MAX_FIELDS + 2);
        assert!(warnings.snapshot(at(0)).iter().any(|warning| warning.field.as_deref() == Some("recorded later")));
        assert_eq!(counts(&warnings).iter().sum::<u64>(), 10_001);
    }

    #[test]
    fn a_field_name_that_may_be_a_secret_is_not_shown() {
        assert_eq!(displayable_field("cert_common-name.1"), "cert_common-name.1");
        for odd in ["", "pw ${SECRET}", "a\nb", "ü", &"x".repeat(65)] {
            assert_eq!(displayable_field(odd), "(unusual name)");
        }
    }
}
