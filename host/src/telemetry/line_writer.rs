//! A bounded queue in front of a thread that writes. Logging never blocks a login.

use std::io;
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Items that are written before the writer flushes and looks for other work.
const MAX_BATCH: usize = 1_024;

/// How long the last items may take to be written when the gate stops. A reader that is gone must not keep it running.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes items on its own thread.
pub(super) trait WriteBatch<T>: Send + 'static {
    /// Writes all items and flushes. Adds every item that it cannot write to `dropped`.
    fn write_batch(&mut self, items: impl Iterator<Item = T>, dropped: &AtomicU64);
}

/// The sending half. An item that finds the queue full is dropped and counted.
///
/// [`Self::drain`] waits for the queue when the gate stops.
pub(super) struct LineWriter<T> {
    queue: SyncSender<T>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Items that found room in the queue.
    queued: AtomicU64,
    /// Items that left the queue.
    written: Mutex<u64>,
    more_written: Condvar,
    dropped: Arc<AtomicU64>,
}

impl<T: Send + 'static> LineWriter<T> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn spawn(thread_name: &str, capacity: usize, writer: impl WriteBatch<T>) -> io::Result<Self> {
        let (queue, items) = sync_channel(capacity);
        let progress = Arc::<Progress>::default();
        let of_thread = Arc::clone(&progress);
        thread::Builder::new().name(thread_name.to_owned()).spawn(move || of_thread.run(&items, writer))?;
        Ok(Self { queue, progress })
    }

    /// Queues an item if there is room. Never blocks.
    pub(super) fn send(&self, item: T) {
        let counter = match self.queue.try_send(item) {
            Ok(()) => &self.progress.queued,
            Err(_) => &self.progress.dropped,
        };
        counter.fetch_add(1, Relaxed);
    }
}

impl<T> LineWriter<T> {
    /// Counts items that were not written.
    pub(super) fn dropped(&self) -> &Arc<AtomicU64> {
        &self.progress.dropped
    }

    /// Waits until every queued item is written. False if that takes too long.
    pub(super) fn drain(&self) -> bool {
        let Progress { queued, written, more_written, .. } = &*self.progress;
        let queued = queued.load(Relaxed);
        let written = written.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = more_written.wait_timeout_while(written, DRAIN_TIMEOUT, |written| *written < queued);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Progress {
    /// Writes items until the sender is dropped.
    fn run<T>(&self, items: &Receiver<T>, mut writer: impl WriteBatch<T>) {
        while let Ok(first) = items.recv() {
            let mut count = 0;
            let batch = iter::once(first).chain(items.try_iter()).take(MAX_BATCH).inspect(|_| count += 1);
            writer.write_batch(batch, &self.dropped);
            *self.written.lock().unwrap_or_else(PoisonError::into_inner) += count;
            self.more_written.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Writes a batch for each message that it is sent, and fails to write 13.
    struct Stepper {
        steps: Receiver<()>,
        written: Sender<u32>,
    }

    impl WriteBatch<u32> for Stepper {
        fn write_batch(&mut self, items: impl Iterator<Item = u32>, dropped: &AtomicU64) {
            let _ = self.steps.recv();
            for item in items {
                if item == 13 {
                    dropped.fetch_add(1, Relaxed);
                } else {
                    self.written.send(item).unwrap();
                }
            }
        }
    }

    fn stepper(capacity: usize) -> (LineWriter<u32>, Sender<()>, Receiver<u32>) {
        let ((step, steps), (written, items)) = (channel(), channel());
        (LineWriter::spawn("test", capacity, Stepper { steps, written }).unwrap(), step, items)
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_never_blocks() {
        let (writer, step, items) = stepper(2);
        // One item may have left the queue already; it waits in the writer.
        for item in 0..10 {
            writer.send(item);
        }
        let dropped = writer.dropped().load(Relaxed);
        assert!((7..=8).contains(&dropped), "{dropped}");
        drop(step);
        assert!(writer.drain());
        assert_eq!(items.try_iter().count() as u64, 10 - dropped);
    }

    #[test]
    fn items_that_cannot_be_written_count_as_dropped() {
        let (writer, step, items) = stepper(8);
        drop(step);
        for item in [12, 13, 14] {
            writer.send(item);
        }
        assert!(writer.drain());
        assert_eq!((items.try_iter().collect::<Vec<_>>(), writer.dropped().load(Relaxed)), (vec![12, 14], 1));
    }

    #[test]
    fn a_writer_that_is_stuck_is_not_waited_for_long() {
        let (writer, _step, _items) = stepper(8);
        writer.send(1);
        assert!(!writer.drain());
    }

    #[test]
    fn everything_queued_is_written_when_the_sender_is_dropped() {
        let (writer, step, items) = stepper(100);
        for item in 100..150 {
            writer.send(item);
        }
        drop((writer, step));
        assert_eq!(items.iter().count(), 50);
    }
}
