//! What a connection does: its requests, and what it waits for.
//!
//! The task of a connection writes it after each step. The sweep of its worker reads it, and ends connections that wait for
//! too long. So no connection needs a timer.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::Waker;

/// State of one connection, shared by its task, the service that answers its requests, the sweep and the buffer limit.
#[derive(Debug, Default)]
pub(super) struct Activity {
    started: AtomicU64,
    answered: AtomicU64,
    /// A [`Stall`], packed.
    stall: AtomicU64,
    /// An [`Eviction`], or 0.
    evicted: AtomicU8,
    task: OnceLock<Waker>,
}

/// What a connection waits for. Its timeout restarts when this changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stall {
    /// The next request, after this many requests.
    Idle(u64),
    /// The rest of a request head, after this many requests.
    ReadingHead(u64),
    /// The client reads the response, after this many bytes.
    WritingResponse(u64),
}

/// Why a connection is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    /// It has waited for too long.
    TimedOut,
    /// Unfinished requests of all connections take too much memory, and this one is the oldest.
    Memory,
}

impl Stall {
    /// Bits of the count; the kind is above them.
    const COUNT_BITS: u32 = 62;

    /// Packs into one word. 0 is no stall.
    fn pack(stall: Option<Self>) -> u64 {
        let (kind, count) = match stall {
            None => return 0,
            Some(Self::Idle(count)) => (1, count),
            Some(Self::ReadingHead(count)) => (2, count),
            Some(Self::WritingResponse(count)) => (3, count),
        };
        (kind << Self::COUNT_BITS) | (count & ((1 << Self::COUNT_BITS) - 1))
    }

    fn unpack(packed: u64) -> Option<Self> {
        let count = packed & ((1 << Self::COUNT_BITS) - 1);
        match packed >> Self::COUNT_BITS {
            1 => Some(Self::Idle(count)),
            2 => Some(Self::ReadingHead(count)),
            3 => Some(Self::WritingResponse(count)),
            _ => None,
        }
    }
}

impl Activity {
    /// Counts a request whose head has arrived.
    pub(super) fn start_request(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    /// Counts a request that was answered.
    pub(super) fn answer_request(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    /// Requests that were answered.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Requests whose head has arrived.
    pub(super) fn started(&self) -> u64 {
        self.started.load(Relaxed)
    }

    /// Whether every request that started was answered.
    pub(super) fn is_idle(&self) -> bool {
        self.started() == self.answered()
    }

    /// Sets the task that serves the connection. An eviction wakes it.
    pub(super) fn set_task(&self, waker: &Waker) {
        self.task.get_or_init(|| waker.clone());
    }

    /// What the connection waits for; `None` while the gate is at work on a request.
    pub(super) fn set_stall(&self, stall: Option<Stall>) {
        self.stall.store(Stall::pack(stall), Relaxed);
    }

    pub(super) fn stall(&self) -> Option<Stall> {
        Stall::unpack(self.stall.load(Relaxed))
    }

    /// Ends the connection. The first reason counts.
    pub(super) fn evict(&self, eviction: Eviction) {
        let code = match eviction {
            Eviction::TimedOut => 1,
            Eviction::Memory => 2,
        };
        if self.evicted.compare_exchange(0, code, Relaxed, Relaxed).is_ok()
            && let Some(task) = self.task.get()
        {
            task.wake_by_ref();
        }
    }

    pub(super) fn eviction(&self) -> Option<Eviction> {
        match self.evicted.load(Relaxed) {
            1 => Some(Eviction::TimedOut),
            2 => Some(Eviction::Memory),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_survive_packing() {
        let activity = Activity::default();
        assert_eq!(activity.stall(), None);
        for count in [0, 1, (1 << 62) - 1] {
            for stall in [Stall::Idle(count), Stall::ReadingHead(count), Stall::WritingResponse(count)] {
                activity.set_stall(Some(stall));
                assert_eq!(activity.stall(), Some(stall));
            }
        }
        activity.set_stall(None);
        assert_eq!(activity.stall(), None);
    }

    #[test]
    fn first_eviction_counts() {
        let activity = Activity::default();
        assert_eq!(activity.eviction(), None);
        activity.evict(Eviction::Memory);
        activity.evict(Eviction::TimedOut);
        assert_eq!(activity.eviction(), Some(Eviction::Memory));
    }
}
