//! Turns: how long one connection may keep its worker before the others come.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::yield_now;

/// Requests of one turn. More gain no speed, and would make others wait.
pub(super) const MAX_REQUESTS: u32 = 64;

/// Duration of one turn. A request that has begun is completed.
const MAX_TIME: Duration = Duration::from_millis(1);

/// The turn of one connection.
///
/// A client can pipeline requests without end. After each turn its connection goes to the end of the queue, and the worker
/// looks at sockets and timers before it comes back. So any other connection waits for one turn of each busy connection at
/// most.
#[derive(Debug)]
pub(super) struct Turn {
    /// Origin of times.
    origin: Instant,
    /// Requests of this turn.
    requests: AtomicU32,
    /// When the turn began, in nanoseconds since `origin`.
    began: AtomicU64,
    /// Whether the connection waits for its next turn.
    is_over: AtomicBool,
}

impl Turn {
    pub(super) fn new(now: Instant) -> Self {
        Self { origin: now, requests: AtomicU32::new(0), began: AtomicU64::new(0), is_over: AtomicBool::new(false) }
    }

    /// Counts a request, after a yield to the other connections if the turn is over.
    pub(super) async fn next_request(&self) {
        if !self.count(Instant::now()) {
            self.is_over.store(true, Relaxed);
            // Wakes this task only after the other ready tasks, the sockets and the timers had their turn.
            yield_now().await;
            self.end();
            self.count(Instant::now());
        }
    }

    /// Whether the connection waits for its next turn, and so has answered all that it may for now.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// Ends the turn. Call it also when the connection waits for its client.
    pub(super) fn end(&self) {
        self.requests.store(0, Relaxed);
        self.is_over.store(false, Relaxed);
    }

    /// Counts a request. Returns `false` if it belongs to the next turn.
    fn count(&self, now: Instant) -> bool {
        let now = now.duration_since(self.origin);
        let requests = self.requests.load(Relaxed);
        if requests == 0 {
            self.began.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        } else if requests >= MAX_REQUESTS || now.saturating_sub(self.began()) >= MAX_TIME {
            return false;
        }
        self.requests.store(requests + 1, Relaxed);
        true
    }

    /// When the turn began, since `origin`.
    fn began(&self) -> Duration {
        Duration::from_nanos(self.began.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_end_after_some_requests_or_some_time() {
        let start = Instant::now();
        let turn = Turn::new(start);
        for _ in 0..MAX_REQUESTS {
            assert!(turn.count(start));
        }
        assert!(!turn.count(start));
        turn.end();
        assert!(turn.count(start));
        assert!(turn.count(start + MAX_TIME / 2));
        assert!(!turn.count(start + MAX_TIME));
    }

    #[test]
    fn a_turn_begins_with_its_first_request() {
        let start = Instant::now();
        let (turn, later) = (Turn::new(start), start + Duration::from_secs(60));
        assert!(turn.count(later));
        assert!(turn.count(later));
    }
}
