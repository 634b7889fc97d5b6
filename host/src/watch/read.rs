//! Files that are read where nobody waits, from a disk that may not answer.

use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_blocking};

/// A reading that takes longer is given up on: what it hangs on may have been replaced since.
const PATIENCE: Duration = Duration::from_secs(64);

/// So many may hang at once. After that the last of them is waited for.
const MOST_GIVEN_UP: u32 = 8;

/// Reads the same thing again and again, each time by a thread that nobody waits for but who asks.
///
/// Whoever asks and is not answered may go away and ask later: the reading goes on, and is the answer to the next
/// question. So a disk that does not answer is not asked anew at each look.
pub(crate) struct Reading<T> {
    underway: Option<(JoinHandle<T>, Instant)>,
    given_up: u32,
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self { underway: None, given_up: 0 }
    }
}

impl<T: Send + 'static> Reading<T> {
    /// What is read, by a reading that may have begun some time ago. `None`: it panicked.
    pub(crate) async fn next(&mut self, now: Instant, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let is_late = self.underway.as_ref().is_some_and(|(_, since)| now.duration_since(*since) > PATIENCE);
        if is_late && self.given_up < MOST_GIVEN_UP {
            self.given_up += 1;
            self.underway = None;
        }
        let (reading, _) = self.underway.get_or_insert_with(|| (spawn_blocking(read), now));
        let read = reading.await;
        self.underway = None;
        read.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_hangs_is_asked_once_and_given_up_on_in_the_end() {
        let mut reading = Reading::default();
        let now = Instant::now();
        assert_eq!(reading.next(now, || 1).await, Some(1));
        let (go_on, hung) = channel::<()>();
        assert!(timeout(Duration::ZERO, reading.next(now, move || hung.recv().map_or(0, |()| 2))).await.is_err());
        // Not asked anew, and answered by what was under way.
        assert!(timeout(Duration::ZERO, reading.next(now + PATIENCE, || 3)).await.is_err());
        go_on.send(()).unwrap();
        assert_eq!(reading.next(now + PATIENCE, || 4).await, Some(2));
        assert_eq!(reading.next(now + PATIENCE, || 5).await, Some(5));

        let (go_on, hung) = channel::<()>();
        assert!(timeout(Duration::ZERO, reading.next(now, move || hung.recv().map_or(6, |()| 6))).await.is_err());
        assert_eq!(reading.next(now + PATIENCE + Duration::from_secs(1), || 7).await, Some(7));
        drop(go_on);
        assert_eq!(reading.next(now, || panic!("told to")).await, None::<i32>);
        assert_eq!(reading.next(now, || 8).await, Some(8));
    }
}
