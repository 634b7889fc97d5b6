//! The end of a connection when the gate stops, so that a request on its way is not lost.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// How long a client that is silent is listened to once the gate stops: a request of its may be on the way.
///
/// HTTP/1.1 has no other way to tell it than with an answer. So its next answer says that it is the last; a client that
/// never asks again is not waited for longer than this.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// Watches for a client to have been silent for long enough.
pub(crate) struct Farewell {
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes that had come when the time began.
    received: u64,
    grace: Duration,
}

impl Farewell {
    /// Never longer than the operator lets the gate drain.
    pub(crate) fn new(drain: Duration) -> Self {
        Self { timer: None, received: 0, grace: GRACE.min(drain) }
    }

    /// Ready once nothing more has come for the time of grace. To be polled when the gate stops, after each step.
    pub(crate) fn poll_silent(&mut self, cx: &mut Context, received: u64) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.grace)));
        if received != self.received {
            self.received = received;
            timer.as_mut().reset(Instant::now() + self.grace);
        }
        timer.as_mut().poll(cx)
    }
}
