//! Grace period for idle connections at shutdown.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Grace period for idle connections at shutdown: a request may already be on the wire.
///
/// HTTP/1.1 announces the end of a connection with a response only. So the next response says `connection: close`, and a
/// client that sends no further request is waited for no longer than this.
pub(super) const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// Measures how long a connection has been idle during shutdown.
pub(super) struct IdleGrace {
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes received when the timer was set.
    received: u64,
    grace: Duration,
}

impl IdleGrace {
    /// The grace period never exceeds `drain_timeout`.
    pub(super) fn new(drain_timeout: Duration) -> Self {
        Self { timer: None, received: 0, grace: SHUTDOWN_GRACE.min(drain_timeout) }
    }

    /// Ready once nothing was received for the grace period. Poll it during shutdown, after each step.
    pub(super) fn poll_elapsed(&mut self, cx: &mut Context, received: u64) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.grace)));
        if received != self.received {
            self.received = received;
            timer.as_mut().reset(Instant::now() + self.grace);
        }
        timer.as_mut().poll(cx)
    }
}
