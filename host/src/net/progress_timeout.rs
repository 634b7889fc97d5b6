//! How long a client may keep the gate waiting in the middle of something.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::net::coalesce::Flow;

/// Requests of one connection.
#[derive(Default)]
pub(crate) struct Requests {
    begun: AtomicU64,
    answered: AtomicU64,
}

impl Requests {
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    /// Whether every request that has begun has its answer.
    pub(crate) fn are_answered(&self) -> bool {
        self.begun.load(Relaxed) == self.answered.load(Relaxed)
    }

    pub(crate) fn answer(&self) {
        self.answered.fetch_add(1, Relaxed);
    }
}

/// Watches one connection. A client may be silent between two requests for as long as the server lets it; in the middle
/// of the head of a request, and of taking an answer, it may not. (The body has a limit of its own. Where a head begins
/// together with the end of the request before it, that is seen only when more of it comes.)
pub(crate) struct Patience {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    stuck: Option<Stuck>,
    /// When nothing was going on last: what had been received, and begun.
    quiet: (u64, u64),
}

/// What the gate is waiting for. The same again: no step was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// The rest of the head after so many requests.
    Head(u64),
    /// That the client takes more than so many bytes.
    Answer(u64),
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, timer: Box::pin(sleep(limit)), stuck: None, quiet: (0, 0) }
    }

    /// Ready when the client has been stuck in the same place for too long. To be polled after each step.
    pub(crate) fn poll_lost(&mut self, cx: &mut Context, flow: Flow, requests: &Requests) -> Poll<Stuck> {
        let stuck = self.place(flow, requests);
        if stuck != self.stuck {
            self.stuck = stuck;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
        match stuck {
            Some(stuck) => self.timer.as_mut().poll(cx).map(|()| stuck),
            None => Poll::Pending,
        }
    }

    fn place(&mut self, flow: Flow, requests: &Requests) -> Option<Stuck> {
        if flow.is_sending {
            return Some(Stuck::Answer(flow.sent));
        }
        let begun = requests.begun.load(Relaxed);
        if !requests.are_answered() || !flow.is_starved {
            return None;
        }
        // Nothing is in hand, and yet something has come that no request has come of.
        if flow.received != self.quiet.0 && begun == self.quiet.1 {
            return Some(Stuck::Head(begun));
        }
        self.quiet = (flow.received, begun);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starved(received: u64) -> Flow {
        Flow { received, is_starved: true, ..Flow::default() }
    }

    #[tokio::test]
    async fn only_the_middle_of_something_is_a_place_to_be_stuck_in() {
        let (requests, mut patience) = (Requests::default(), Patience::new(Duration::from_secs(1)));
        assert_eq!(patience.place(starved(0), &requests), None);
        assert_eq!(patience.place(starved(7), &requests), Some(Stuck::Head(0)));
        // One byte more does not begin the time anew.
        assert_eq!(patience.place(starved(8), &requests), Some(Stuck::Head(0)));
        requests.begin();
        assert_eq!(patience.place(starved(60), &requests), None);
        requests.answer();
        let sending = Flow { is_sending: true, ..starved(60) };
        assert_eq!(patience.place(sending, &requests), Some(Stuck::Answer(0)));
        assert_eq!(patience.place(Flow { sent: 9, ..sending }, &requests), Some(Stuck::Answer(9)));
        assert_eq!(patience.place(starved(60), &requests), None);
        assert_eq!(patience.place(starved(61), &requests), Some(Stuck::Head(1)));
    }
}
