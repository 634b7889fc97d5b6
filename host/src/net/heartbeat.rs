//! Whether the workers are alive, for a watchdog that ends the gate when it hears nothing.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::sleep;

/// A worker beats so often in the time in which it has to.
const BEATS: u32 = 4;

/// The hearts of all workers. Nobody is told that the gate is alive when one of them stands still: a timer alone would
/// tell it of a gate that answers nobody.
pub(crate) struct Pulse {
    /// Twice in the time after which the watchdog acts. None: nobody watches, and nothing beats.
    interval: Option<Duration>,
    beats: Vec<Arc<AtomicU64>>,
}

/// Beats on the thread of its worker, and so as long as that turns.
pub(crate) struct Heart {
    interval: Option<Duration>,
    beats: Arc<AtomicU64>,
}

impl Pulse {
    pub(crate) fn new(workers: usize, watchdog: Option<Duration>) -> Self {
        let beats = (0..workers).map(|_| Arc::default()).collect();
        Self { interval: watchdog.map(|time| time / 2), beats }
    }

    /// One for each worker.
    pub(crate) fn hearts(&self) -> impl Iterator<Item = Heart> {
        self.beats.iter().map(|beats| Heart { interval: self.interval, beats: Arc::clone(beats) })
    }

    /// Calls this at the end of each interval in which every heart has beaten.
    pub(crate) async fn watch(self, alive: impl Fn()) {
        let Some(interval) = self.interval else { return pending().await };
        let count = || self.beats.iter().map(|beats| beats.load(Relaxed)).collect::<Vec<_>>();
        let mut before = count();
        loop {
            sleep(interval).await;
            let now = count();
            if now.iter().zip(&before).all(|(now, before)| now != before) {
                alive();
            }
            before = now;
        }
    }
}

impl Heart {
    /// Beats for as long as it is polled.
    pub(crate) async fn beat(self) {
        let Some(interval) = self.interval else { return pending().await };
        loop {
            sleep(interval / BEATS).await;
            self.beats.fetch_add(1, Relaxed);
        }
    }
}
