//! When the connected clients of one broker are examined.
//!
//! Two sweeps follow each activation: the first when the caches of EMQX are reset, the second when no response of the policy
//! before can be on its way any more.

use std::time::{Duration, Instant};

/// Time from the second reset of the caches until the second sweep. A reset takes milliseconds.
const RESET_TIME: Duration = Duration::from_secs(1);

/// The sweeps that are due.
#[derive(Default)]
pub(super) struct Schedule {
    /// Generation of the newest activation.
    newest: u64,
    /// Whether the first sweep waits for a reset of the caches.
    awaits_reset: bool,
    first_at: Option<Instant>,
    second_at: Option<Instant>,
}

impl Schedule {
    /// A policy was activated. Sweeps for earlier activations are not due any more.
    pub(super) fn activated(&mut self, generation: u64) {
        *self = Self { newest: generation, awaits_reset: true, first_at: None, second_at: None };
    }

    /// The caches were reset after the activation of this generation, and are reset again after `repeat_after`.
    pub(super) fn caches_reset(&mut self, generation: u64, now: Instant, repeat_after: Duration) {
        if generation >= self.newest && std::mem::take(&mut self.awaits_reset) {
            self.first_at = Some(now);
            self.second_at = Some(now + repeat_after + RESET_TIME);
        }
    }

    /// Begins the sweep that is due, and returns the generation that it is for.
    pub(super) fn begin(&mut self, now: Instant) -> Option<u64> {
        let is_due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        (is_due(&mut self.first_at) || is_due(&mut self.second_at)).then_some(self.newest)
    }

    /// Time until the next sweep is due. `None`: none is.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        Some(self.first_at.or(self.second_at)?.saturating_duration_since(now))
    }

    /// Whether no activation followed this generation.
    pub(super) fn is_current(&self, generation: u64) -> bool {
        self.newest == generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPEAT: Duration = Duration::from_secs(3);

    #[test]
    fn two_sweeps_follow_an_activation_and_its_reset() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        assert_eq!((schedule.begin(start), schedule.wait(start)), (None, None));
        schedule.activated(2);
        assert_eq!((schedule.begin(start), schedule.wait(start)), (None, None), "the caches first");
        schedule.caches_reset(2, start, REPEAT);
        assert_eq!((schedule.wait(start), schedule.begin(start)), (Some(Duration::ZERO), Some(2)));
        assert_eq!((schedule.begin(start), schedule.wait(start)), (None, Some(Duration::from_secs(4))));
        let later = start + Duration::from_secs(4);
        assert_eq!((schedule.begin(later), schedule.begin(later), schedule.wait(later)), (Some(2), None, None));
    }

    #[test]
    fn resets_for_other_activations_start_no_sweep() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.activated(5);
        schedule.caches_reset(4, start, REPEAT);
        assert_eq!(schedule.begin(start), None, "the reset began before the activation");
        schedule.caches_reset(6, start, REPEAT);
        assert_eq!(schedule.begin(start), Some(5), "a tenant was activated meanwhile");
        schedule.caches_reset(7, start, REPEAT);
        assert_eq!(schedule.begin(start), None);
        assert!(schedule.is_current(5) && !schedule.is_current(4));
    }

    #[test]
    fn an_activation_takes_the_place_of_the_one_before() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.activated(1);
        schedule.caches_reset(1, start, REPEAT);
        schedule.activated(2);
        assert_eq!((schedule.begin(start + Duration::from_secs(60)), schedule.is_current(1)), (None, false));
    }
}
