//! Deadlines of connections. Envoy gives a filter no timer per connection, so the tick checks a queue.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// The interval at which deadlines are checked.
pub(crate) const TICK_INTERVAL: Duration = Duration::from_millis(100);

/// The deadlines of connections, earliest first. An entry exists as long as its [`Deadline`].
///
/// Times are in a unit of the caller's choice, such as ticks or seconds.
#[derive(Default)]
pub struct DeadlineQueue {
    // A `Cell` cannot panic, as a `RefCell` could on a nested borrow.
    entries: Cell<BTreeSet<(u64, u32)>>,
}

impl DeadlineQueue {
    /// Adds the deadline of a connection.
    #[must_use]
    pub fn add(self: &Rc<Self>, connection: u32, at: u64) -> Deadline {
        self.with_entries(|entries| entries.insert((at, connection)));
        Deadline { queue: Rc::clone(self), entry: (at, connection) }
    }

    /// Removes and returns the connections whose deadline has passed: at most `max`, the earliest first.
    pub fn take_due(&self, now: u64, max: usize) -> Vec<u32> {
        self.with_entries(|entries| {
            let due: Vec<_> = entries.iter().take(max).take_while(|(at, _)| *at <= now).copied().collect();
            due.iter().for_each(|entry| _ = entries.remove(entry));
            due.into_iter().map(|(_, connection)| connection).collect()
        })
    }

    fn with_entries<T>(&self, change: impl FnOnce(&mut BTreeSet<(u64, u32)>) -> T) -> T {
        let mut entries = self.entries.take();
        let result = change(&mut entries);
        self.entries.set(entries);
        result
    }
}

/// The deadline of a connection. Dropping it removes it from the queue.
pub struct Deadline {
    queue: Rc<DeadlineQueue>,
    entry: (u64, u32),
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.queue.with_entries(|entries| entries.remove(&self.entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_due_connections_once_in_order_and_at_most_max() {
        let queue = Rc::new(DeadlineQueue::default());
        let kept: Vec<_> = [(1, 30), (2, 10), (3, 20), (4, 21)].map(|(id, at)| queue.add(id, at)).into();
        assert!(queue.take_due(9, 10).is_empty());
        assert_eq!(queue.take_due(20, 1), [2]);
        assert_eq!(queue.take_due(20, 10), [3]);
        assert!(queue.take_due(20, 10).is_empty());
        assert_eq!(queue.take_due(u64::MAX, 10), [4, 1]);
        drop(kept);
    }

    #[test]
    fn connection_can_be_added_again_after_its_deadline_is_dropped() {
        let queue = Rc::new(DeadlineQueue::default());
        let mut kept = Some(queue.add(1, 5));
        drop(kept.take());
        kept = Some(queue.add(1, 5));
        assert_eq!(queue.take_due(5, 10), [1]);
        drop(kept);
    }

    #[test]
    fn dropped_deadline_is_removed_from_the_queue() {
        let queue = Rc::new(DeadlineQueue::default());
        let (kept, gone) = (queue.add(1, 5), queue.add(2, 5));
        drop(gone);
        assert_eq!(queue.take_due(5, 10), [1]);
        drop(kept);
    }
}
