//! What the operator has been logged already: each thing once, so that no client can flood the log with it.

use std::cell::Cell;
use std::collections::BTreeSet;

/// What has been logged: what was wrong, and on which route. Both are our own words, so there is an end to them.
#[derive(Default)]
pub(crate) struct LogOnce(Cell<BTreeSet<(&'static str, &'static str)>>);

impl LogOnce {
    /// Whether this is new.
    pub(crate) fn is_first(&self, route: &'static str, kind: &'static str) -> bool {
        let mut logged = self.0.take();
        let is_first = logged.insert((route, kind));
        self.0.set(logged);
        is_first
    }
}
