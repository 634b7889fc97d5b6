//! Heartbeats of the workers, for a watchdog that kills a gate that hangs.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::sleep;

/// Heartbeats of a worker per check, so that one late timer does not count as a hang.
const BEATS_PER_CHECK: u32 = 4;

/// Checks the heartbeats of all workers.
///
/// The watchdog is notified only while every worker makes progress. A timer alone would notify it for a gate that answers
/// no one.
pub(crate) struct HeartbeatMonitor {
    /// Half of the watchdog's time. `None`: there is no watchdog, and workers do not beat.
    interval: Option<Duration>,
    ticks: Vec<Arc<AtomicU64>>,
}

/// Heartbeat of one worker. It runs on the worker's thread, and so stops when that thread hangs.
pub(crate) struct Heartbeat {
    interval: Option<Duration>,
    ticks: Arc<AtomicU64>,
}

impl HeartbeatMonitor {
    pub(crate) fn new(workers: usize, watchdog: Option<Duration>) -> Self {
        let ticks = (0..workers).map(|_| Arc::default()).collect();
        Self { interval: watchdog.map(|time| time / 2), ticks }
    }

    /// One heartbeat for each worker.
    pub(super) fn heartbeats(&self) -> impl Iterator<Item = Heartbeat> {
        self.ticks.iter().map(|ticks| Heartbeat { interval: self.interval, ticks: Arc::clone(ticks) })
    }

    /// Calls `notify` after each interval in which every worker made progress.
    pub(crate) async fn watch(self, notify: impl Fn()) {
        let Some(interval) = self.interval else { return pending().await };
        let count = || self.ticks.iter().map(|ticks| ticks.load(Relaxed)).collect::<Vec<_>>();
        let mut before = count();
        loop {
            sleep(interval).await;
            let now = count();
            if now.iter().zip(&before).all(|(now, before)| now != before) {
                notify();
            }
            before = now;
        }
    }
}

impl Heartbeat {
    /// Beats for as long as it is polled.
    pub(super) async fn run(self) {
        let Some(interval) = self.interval else { return pending().await };
        loop {
            sleep(interval / BEATS_PER_CHECK).await;
            self.ticks.fetch_add(1, Relaxed);
        }
    }
}
