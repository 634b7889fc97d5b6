//! Policies whose instances share a bound, such as those of one tenant.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::instance_pool::IdleInstances;

/// Share of idle instances that an eviction drops. Finding the oldest takes a look at all of them, so one look serves
/// many of the instances that are created next.
const EVICTED_SHARE: usize = 8;

/// Whether so many live instances leave room for at most a quarter of `max`. An eviction makes less room than that.
pub(super) fn is_crowded(alive: u64, max: u32) -> bool {
    alive.saturating_mul(4) >= u64::from(max).saturating_mul(3)
}

/// Policies whose instances share a bound. Idle instances make room for others, the least recently used ones first.
pub struct InstanceGroup {
    /// Maximum number of live instances; `None`: as many as the sandbox has.
    max: Option<u32>,
    alive: Arc<AtomicU32>,
    pools: Mutex<Vec<Weak<IdleInstances>>>,
}

/// The instances of a group have reached its bound.
#[derive(Debug, thiserror::Error)]
#[error("the instances of this group of policies have reached their limit")]
pub(super) struct GroupExhausted;

/// Counts one instance of a group until it is dropped.
pub(super) struct GroupGuard(Arc<AtomicU32>);

impl InstanceGroup {
    /// Creates a group with this bound; `None`: the bound of the sandbox.
    #[must_use]
    pub fn new(max: Option<u32>) -> Self {
        Self { max, alive: Arc::default(), pools: Mutex::default() }
    }

    /// Number of live instances.
    #[must_use]
    pub fn alive(&self) -> u32 {
        self.alive.load(Relaxed)
    }

    /// Maximum number of live instances; `None`: as many as the sandbox has.
    #[must_use]
    pub fn max(&self) -> Option<u32> {
        self.max
    }

    /// Whether few more instances fit into this bound.
    pub(super) fn is_crowded(&self) -> bool {
        self.max.is_some_and(|max| is_crowded(self.alive().into(), max))
    }

    /// Counts a new instance.
    pub(super) fn take(&self) -> Result<GroupGuard, GroupExhausted> {
        let take = |alive: u32| alive.checked_add(1).filter(|alive| self.max.is_none_or(|max| *alive <= max));
        self.alive.try_update(Relaxed, Relaxed, take).map_err(|_| GroupExhausted)?;
        Ok(GroupGuard(Arc::clone(&self.alive)))
    }

    /// Adds the idle instances of a policy.
    pub(super) fn register(&self, pool: &Arc<IdleInstances>) {
        let mut pools = self.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// Drops the instances that have been idle for longest: an eighth of all idle ones, and at least one if there is one.
    pub(super) fn evict(&self) {
        let pools: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).collect();
        let mut idle: Vec<(Instant, &Arc<IdleInstances>, usize)> =
            pools.iter().flat_map(|pool| pool.last_used().map(move |(shard, at)| (at, pool, shard))).collect();
        idle.sort_by_key(|(at, ..)| *at);
        let evicted = idle.len().div_ceil(EVICTED_SHARE);
        for (_, pool, shard) in idle.into_iter().take(evicted) {
            pool.clear_shard(shard);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<IdleInstances>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_at_most_its_bound() {
        let group = InstanceGroup::new(Some(2));
        let first = group.take().unwrap();
        let _second = group.take().unwrap();
        assert!(group.take().is_err());
        assert_eq!(group.alive(), 2);
        drop(first);
        assert!(group.take().is_ok());
    }
}
