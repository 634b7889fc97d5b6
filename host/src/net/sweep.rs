//! Sweep of a worker's connections: ends those that wait for too long.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::activity::{Activity, Eviction, Stall};
use crate::config::Limits;

/// Interval of the sweep, and so the resolution of the timeouts of connections.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// Idle time between two requests. EMQX reconnects needlessly if it is below 15 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The connections of one worker.
#[derive(Default)]
pub(super) struct Sweep {
    connections: Vec<Watched>,
}

/// A connection, and since when it waits for the same.
struct Watched {
    activity: Weak<Activity>,
    stall: Option<Stall>,
    since: Instant,
}

impl Sweep {
    /// Adds a connection. It is forgotten when nothing else refers to it.
    pub(super) fn add(&mut self, activity: &Arc<Activity>, now: Instant) {
        self.connections.push(Watched { activity: Arc::downgrade(activity), stall: None, since: now });
    }

    /// Evicts every connection that has waited for the same since before its timeout.
    pub(super) fn sweep(&mut self, now: Instant, limits: &Limits) {
        self.connections.retain_mut(|connection| {
            let Some(activity) = connection.activity.upgrade() else { return false };
            let stall = activity.stall();
            if stall != connection.stall {
                (connection.stall, connection.since) = (stall, now);
            } else if stall.is_some_and(|stall| now - connection.since >= timeout(stall, limits)) {
                activity.evict(Eviction::TimedOut);
            }
            true
        });
    }
}

fn timeout(stall: Stall, limits: &Limits) -> Duration {
    match stall {
        Stall::Idle(_) => IDLE_TIMEOUT,
        Stall::ReadingHead(_) | Stall::WritingResponse(_) => limits.request_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a connection is evicted that is swept every second in these states.
    fn is_evicted(stalls: impl IntoIterator<Item = Option<Stall>>) -> bool {
        let limits = Limits { request_timeout: Duration::from_secs(10), ..Limits::default() };
        let (start, activity, mut sweep) = (Instant::now(), Arc::<Activity>::default(), Sweep::default());
        sweep.add(&activity, start);
        for (second, stall) in stalls.into_iter().enumerate() {
            activity.set_stall(stall);
            sweep.sweep(start + Duration::from_secs(second as u64), &limits);
        }
        activity.eviction() == Some(Eviction::TimedOut)
    }

    #[test]
    fn evicts_connections_that_wait_for_the_same_too_long() {
        for stall in [Stall::ReadingHead(7), Stall::WritingResponse(0)] {
            assert!(!is_evicted([Some(stall); 10]), "{stall:?}");
            assert!(is_evicted([Some(stall); 11]), "{stall:?}");
        }
        assert!(!is_evicted([Some(Stall::Idle(0)); 75]));
        assert!(is_evicted([Some(Stall::Idle(0)); 76]));
    }

    #[test]
    fn keeps_connections_that_make_progress_or_wait_for_the_gate() {
        assert!(!is_evicted((0..100).map(|sent| Some(Stall::WritingResponse(sent)))));
        assert!(!is_evicted((0..100).map(|requests| Some(Stall::ReadingHead(requests / 5)))));
        assert!(!is_evicted([None; 100]));
    }

    #[test]
    fn forgets_connections_that_ended() {
        let (now, mut sweep) = (Instant::now(), Sweep::default());
        sweep.add(&Arc::default(), now);
        sweep.sweep(now, &Limits::default());
        assert!(sweep.connections.is_empty());
    }
}
