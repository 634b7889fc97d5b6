//! The share of processor time that the policies of one tenant may use.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time whose share a tenant may use at once, after it has been idle. Long enough for the logins of a small fleet.
const BURST: Duration = Duration::from_secs(1);

/// Processor time that calls may use, as a share of elapsed time. Calls that would exceed it wait.
pub(crate) struct ProcessorQuota {
    /// Processors: 0.5 is half of one.
    share: f64,
    budget: Mutex<Budget>,
}

#[derive(Clone, Copy)]
struct Budget {
    /// Seconds of calls that may begin now; negative after a call that took longer than what was left.
    seconds: f64,
    at: Instant,
}

impl ProcessorQuota {
    pub(crate) fn new(share: f64, now: Instant) -> Self {
        Self { share, budget: Mutex::new(Budget { seconds: share * BURST.as_secs_f64(), at: now }) }
    }

    /// Waits until a call may begin. Returns whether it may, within `max_wait`.
    pub(crate) async fn wait(&self, max_wait: Duration) -> bool {
        let deadline = Instant::now() + max_wait;
        loop {
            let now = Instant::now();
            let Some(wait) = self.time_until_free(now) else { return true };
            if now + wait > deadline {
                return false;
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes note of a call that took this long.
    pub(crate) fn charge(&self, duration: Duration) {
        self.lock().seconds -= duration.as_secs_f64();
    }

    /// Time until a call may begin; `None`: it may now.
    fn time_until_free(&self, now: Instant) -> Option<Duration> {
        let mut budget = self.lock();
        let elapsed = now.saturating_duration_since(budget.at).as_secs_f64();
        let seconds = (budget.seconds + elapsed * self.share).min(self.share * BURST.as_secs_f64());
        *budget = Budget { seconds, at: now.max(budget.at) };
        // A millisecond is the resolution of the runtime's timers.
        (seconds <= 0.0).then(|| Duration::from_secs_f64(-seconds / self.share) + Duration::from_millis(1))
    }

    fn lock(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_wait_once_the_share_is_used_up() {
        let start = Instant::now();
        let quota = ProcessorQuota::new(0.5, start);
        assert_eq!(quota.time_until_free(start), None);
        quota.charge(Duration::from_millis(700));
        let wait = quota.time_until_free(start).unwrap();
        assert!((wait.as_secs_f64() - 0.401).abs() < 0.001, "0.2 s too much at half a processor: {wait:?}");
        assert_eq!(quota.time_until_free(start + Duration::from_millis(402)), None);
    }

    #[test]
    fn an_idle_tenant_saves_one_second() {
        let start = Instant::now();
        let quota = ProcessorQuota::new(2.0, start);
        assert_eq!(quota.time_until_free(start + Duration::from_secs(3600)), None);
        quota.charge(Duration::from_secs(3));
        let wait = quota.time_until_free(start + Duration::from_secs(3600)).unwrap();
        assert!((wait.as_secs_f64() - 0.501).abs() < 0.001, "{wait:?}");
    }
}
