//! What is to be ended when, kept by the tick: connections have no timers of their own here.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// How often connections are looked at that have to end.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Connections by the moment at which they end.
///
/// Whoever enters one holds its [`Appointment`]; an entry never outlives that.
#[derive(Default)]
pub struct Timetable {
    // Taken out and put back whole, so that no call can find it borrowed.
    entries: Cell<BTreeSet<(u64, u32)>>,
}

impl Timetable {
    /// Enters a connection.
    #[must_use]
    pub fn enter(self: &Rc<Self>, connection: u32, at: u64) -> Appointment {
        self.change(|entries| entries.insert((at, connection)));
        Appointment { table: Rc::clone(self), entry: (at, connection) }
    }

    /// Takes out the connections whose moment has come, the earliest first, and no more than `most`.
    pub fn due(&self, now: u64, most: usize) -> Vec<u32> {
        self.change(|entries| {
            let due: Vec<_> = entries.iter().take(most).take_while(|(at, _)| *at <= now).copied().collect();
            due.iter().for_each(|entry| _ = entries.remove(entry));
            due.into_iter().map(|(_, connection)| connection).collect()
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeSet<(u64, u32)>) -> T) -> T {
        let mut entries = self.entries.take();
        let result = change(&mut entries);
        self.entries.set(entries);
        result
    }
}

/// A connection's entry in a timetable. Dropped, it is off the table.
pub struct Appointment {
    table: Rc<Timetable>,
    entry: (u64, u32),
}

impl Drop for Appointment {
    fn drop(&mut self) {
        self.table.change(|entries| entries.remove(&self.entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_once_in_its_order_and_not_all_at_once() {
        let table = Rc::new(Timetable::default());
        let kept: Vec<_> = [(1, 30), (2, 10), (3, 20), (4, 21)].map(|(id, at)| table.enter(id, at)).into();
        assert!(table.due(9, 10).is_empty());
        assert_eq!(table.due(20, 1), [2]);
        assert_eq!(table.due(20, 10), [3]);
        assert!(table.due(20, 10).is_empty());
        assert_eq!(table.due(u64::MAX, 10), [4, 1]);
        drop(kept);
    }

    #[test]
    fn an_entry_goes_with_its_appointment_and_is_entered_again_only_after_it() {
        let table = Rc::new(Timetable::default());
        let mut kept = Some(table.enter(1, 5));
        drop(kept.take());
        kept = Some(table.enter(1, 5));
        assert_eq!(table.due(5, 10), [1]);
        drop(kept);
    }

    #[test]
    fn who_is_gone_is_off_the_table() {
        let table = Rc::new(Timetable::default());
        let (kept, gone) = (table.enter(1, 5), table.enter(2, 5));
        drop(gone);
        assert_eq!(table.due(5, 10), [1]);
        drop(kept);
    }
}
