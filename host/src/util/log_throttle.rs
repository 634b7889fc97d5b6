//! Limits how often the same problem is logged.

use std::time::{Duration, Instant};

/// Minimum time between two log lines about the same problem.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Allows one log line a minute.
#[derive(Default)]
pub(crate) struct LogThrottle(Option<Instant>);

impl LogThrottle {
    /// Whether to log now. If so, the next minute is silent.
    pub(crate) fn should_log(&mut self, now: Instant) -> bool {
        let should_log = self.0.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL);
        if should_log {
            self.0 = Some(now);
        }
        should_log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_one_line_a_minute() {
        let (mut throttle, start) = (LogThrottle::default(), Instant::now());
        let logged =
            [0, 1, 59, 60, 61, 119, 120].map(|second| throttle.should_log(start + Duration::from_secs(second)));
        assert_eq!(logged, [true, false, false, true, false, false, true]);
    }
}
