//! Time of one call: the processor time of its thread is its budget, and wall time its limit.
//!
//! A busy machine may not run a thread for longer than a policy's timeout. That is no fault of the policy.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Age at which a reading of the thread's processor time is too old to start a call with. Reading it takes a system call,
/// which is a tenth of an ordinary policy call. A call is charged for at most this much that it has not used.
const MAX_READING_AGE: Duration = Duration::from_millis(2);

/// Time that a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallTimeout {
    /// Processor time.
    pub(super) cpu: Duration,
    /// Wall time, at least as long.
    pub(super) wall: Duration,
}

/// The clock of a running call. It belongs to the thread that the call runs on.
#[derive(Clone, Copy)]
pub(super) struct CallClock {
    started: Instant,
    cpu_at_start: Duration,
    timeout: CallTimeout,
}

/// Decision about a running call at a tick of the epoch clock.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// It goes on for this long.
    Continue(Duration),
    /// It has used its processor time.
    Deadline,
    /// It has not, but its wall time is over.
    Overloaded,
}

impl CallClock {
    pub(super) fn start(timeout: CallTimeout) -> Self {
        let started = Instant::now();
        Self { started, cpu_at_start: recent_cpu_time(started), timeout }
    }

    /// When the call began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Time after which the call is looked at first. It cannot end before.
    pub(super) fn first_tick(&self) -> Duration {
        self.timeout.cpu.min(self.timeout.wall)
    }

    /// Decides about a call that is still running, on its thread.
    pub(super) fn tick(&self) -> Tick {
        self.tick_at(Instant::now(), cpu_time())
    }

    fn tick_at(&self, now: Instant, cpu: Duration) -> Tick {
        let CallTimeout { cpu: max_cpu, wall: max_wall } = self.timeout;
        let cpu_left = max_cpu.saturating_sub(cpu.saturating_sub(self.cpu_at_start));
        let wall_left = max_wall.saturating_sub(now.saturating_duration_since(self.started));
        if cpu_left.is_zero() {
            Tick::Deadline
        } else if wall_left.is_zero() {
            Tick::Overloaded
        } else {
            Tick::Continue(cpu_left.min(wall_left))
        }
    }
}

/// Processor time that this thread has used.
fn cpu_time() -> Duration {
    // The kernel's clocks are never negative.
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// Processor time that this thread had used at most [`MAX_READING_AGE`] before `now`.
fn recent_cpu_time(now: Instant) -> Duration {
    thread_local! {
        static READING: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }
    match READING.get() {
        Some((at, cpu)) if now.saturating_duration_since(at) < MAX_READING_AGE => cpu,
        _ => {
            let cpu = cpu_time();
            READING.set(Some((now, cpu)));
            cpu
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn processor_time_is_the_budget_and_wall_time_the_limit() {
        let timeout = CallTimeout { cpu: millis(200), wall: millis(2000) };
        let clock = CallClock { started: Instant::now(), cpu_at_start: millis(5000), timeout };
        for (wall, cpu, expected) in [
            (0, 0, Tick::Continue(millis(200))),
            (200, 50, Tick::Continue(millis(150))),
            (1900, 50, Tick::Continue(millis(100))),
            (200, 200, Tick::Deadline),
            (1999, 199, Tick::Continue(millis(1))),
            (2000, 199, Tick::Overloaded),
            (9000, 200, Tick::Deadline),
        ] {
            assert_eq!(clock.tick_at(clock.started + millis(wall), millis(5000 + cpu)), expected, "{wall} {cpu}");
        }
    }

    #[test]
    fn a_thread_that_works_uses_its_budget_and_one_that_waits_does_not() {
        let clock = CallClock::start(CallTimeout { cpu: millis(20), wall: Duration::from_secs(3600) });
        std::thread::sleep(millis(60));
        assert!(matches!(clock.tick(), Tick::Continue(_)));
        while matches!(clock.tick(), Tick::Continue(_)) {}
        assert_eq!(clock.tick(), Tick::Deadline);
    }
}
