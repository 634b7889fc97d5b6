//! Client ids that wait to be disconnected.

use std::collections::BTreeSet;

/// Bytes of client ids that are kept at once: about 300,000 ids of 50 bytes. A list with more is read again after these
/// clients are disconnected.
const MAX_BYTES: usize = 16 << 20;

/// Client ids that the policies deny. Bounded, because a broker can have millions of clients.
#[derive(Default)]
pub(super) struct Denied {
    ids: BTreeSet<String>,
    bytes: usize,
}

impl Denied {
    /// Adds an id. Returns whether it is new.
    pub(super) fn insert(&mut self, client_id: String) -> bool {
        let len = client_id.len();
        let is_new = self.ids.insert(client_id);
        self.bytes += if is_new { len } else { 0 };
        is_new
    }

    /// Whether no more ids should be added.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES
    }

    pub(super) fn ids(&self) -> &BTreeSet<String> {
        &self.ids
    }

    pub(super) fn into_ids(self) -> BTreeSet<String> {
        self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_new_ids_are_bounded() {
        let mut denied = Denied::default();
        assert!(denied.insert("a".repeat(MAX_BYTES - 1)) && !denied.is_full());
        assert!(!denied.insert("a".repeat(MAX_BYTES - 1)) && !denied.is_full(), "a known id counts once");
        assert!(denied.insert("b".to_owned()) && denied.is_full());
        assert_eq!(denied.into_ids().len(), 2);
    }
}
