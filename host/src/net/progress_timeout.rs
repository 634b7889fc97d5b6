//! Timeout of a connection that makes no progress.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::coalesce::IoState;

/// Requests of one connection, counted by the service that answers them.
#[derive(Default)]
pub(super) struct RequestCounter {
    started: AtomicU64,
    answered: AtomicU64,
}

impl RequestCounter {
    pub(super) fn start(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    pub(super) fn answer(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    /// Whether every request that started was answered.
    pub(super) fn is_idle(&self) -> bool {
        self.started.load(Relaxed) == self.answered.load(Relaxed)
    }
}

/// Progress timeout of one connection.
///
/// It runs only while a request head is incomplete or a response is unsent. Idle time between requests is bounded by
/// hyper's header timeout, the body by its own. A head that arrives together with the end of the request before it counts
/// only from its next byte on.
pub(super) struct ProgressTimeout {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    stall: Option<Stall>,
    /// Bytes received and requests started when the connection was last idle.
    last_idle: (u64, u64),
}

/// The cause that blocks the connection. The timer restarts when this value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stall {
    /// The rest of a request head, after this many requests.
    ReadingHead(u64),
    /// The client reads the response, after this many bytes.
    WritingResponse(u64),
}

impl ProgressTimeout {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, timer: Box::pin(sleep(limit)), stall: None, last_idle: (0, 0) }
    }

    /// Ready when the connection was blocked on the same thing for too long. Poll it after each step.
    pub(super) fn poll_timeout(&mut self, cx: &mut Context, io: IoState, requests: &RequestCounter) -> Poll<Stall> {
        let stall = self.stall(io, requests);
        if stall != self.stall {
            self.stall = stall;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
        match stall {
            Some(stall) => self.timer.as_mut().poll(cx).map(|()| stall),
            None => Poll::Pending,
        }
    }

    fn stall(&mut self, io: IoState, requests: &RequestCounter) -> Option<Stall> {
        if io.is_sending {
            return Some(Stall::WritingResponse(io.sent));
        }
        let started = requests.started.load(Relaxed);
        if !requests.is_idle() || !io.is_read_pending {
            return None;
        }
        // No request is being answered, and yet bytes arrived that belong to none.
        if io.received != self.last_idle.0 && started == self.last_idle.1 {
            return Some(Stall::ReadingHead(started));
        }
        self.last_idle = (io.received, started);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_pending(received: u64) -> IoState {
        IoState { received, is_read_pending: true, ..IoState::default() }
    }

    #[tokio::test]
    async fn stalls_only_within_a_head_or_a_response() {
        let (requests, mut timeout) = (RequestCounter::default(), ProgressTimeout::new(Duration::from_secs(1)));
        assert_eq!(timeout.stall(read_pending(0), &requests), None);
        assert_eq!(timeout.stall(read_pending(7), &requests), Some(Stall::ReadingHead(0)));
        // One more byte does not restart the timer.
        assert_eq!(timeout.stall(read_pending(8), &requests), Some(Stall::ReadingHead(0)));
        requests.start();
        assert_eq!(timeout.stall(read_pending(60), &requests), None);
        requests.answer();
        let sending = IoState { is_sending: true, ..read_pending(60) };
        assert_eq!(timeout.stall(sending, &requests), Some(Stall::WritingResponse(0)));
        assert_eq!(timeout.stall(IoState { sent: 9, ..sending }, &requests), Some(Stall::WritingResponse(9)));
        assert_eq!(timeout.stall(read_pending(60), &requests), None);
        assert_eq!(timeout.stall(read_pending(61), &requests), Some(Stall::ReadingHead(1)));
    }

    #[tokio::test]
    async fn fires_when_the_client_makes_no_progress() {
        let (requests, mut timeout) = (RequestCounter::default(), ProgressTimeout::new(Duration::from_millis(1)));
        let stall = std::future::poll_fn(|cx| timeout.poll_timeout(cx, read_pending(7), &requests)).await;
        assert_eq!(stall, Stall::ReadingHead(0));
    }
}
