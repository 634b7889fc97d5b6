//! What the operator has been told already: each thing once, so that no client can flood the log with it.

use std::cell::Cell;
use std::collections::BTreeSet;

/// What has been told: what was wrong, and on which route. Both are our own words, so there is an end to them.
#[derive(Default)]
pub(crate) struct Told(Cell<BTreeSet<(&'static str, &'static str)>>);

impl Told {
    /// Whether this is new.
    pub(crate) fn is_new(&self, route: &'static str, kind: &'static str) -> bool {
        let mut told = self.0.take();
        let is_new = told.insert((route, kind));
        self.0.set(told);
        is_new
    }
}
