//! Deduplication of log messages, so that clients cannot flood the log.

use std::cell::Cell;
use std::collections::BTreeSet;

/// The problems that have been logged, by route and kind. Both are our own constants, so their number is bounded.
#[derive(Default)]
pub(crate) struct LogOnce(Cell<BTreeSet<(&'static str, &'static str)>>);

impl LogOnce {
    /// Records a problem. Returns whether it is the first of this kind on this route.
    pub(crate) fn is_first(&self, route: &'static str, kind: &'static str) -> bool {
        let mut logged = self.0.take();
        let is_first = logged.insert((route, kind));
        self.0.set(logged);
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_first_once_per_route() {
        let log_once = LogOnce::default();
        assert!(log_once.is_first("/mqtt/auth", "empty") && log_once.is_first("/mqtt/acl", "empty"));
        assert!(log_once.is_first("/mqtt/auth", "not-json"));
        assert!(!log_once.is_first("/mqtt/auth", "empty") && !log_once.is_first("/mqtt/acl", "empty"));
    }
}
