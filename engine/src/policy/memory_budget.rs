//! Memory of all instances together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wasmtime::{ResourceLimiter, Result};

/// Linear memory that the instances of all policies may have together.
#[derive(Debug)]
pub struct MemoryBudget {
    max: u64,
    used: AtomicU64,
}

/// The instances of all policies have reached `limits.max_total_policy_memory`.
#[derive(Debug, thiserror::Error)]
#[error("the instances of all policies have reached limits.max_total_policy_memory")]
pub(super) struct MemoryBudgetExceeded;

impl MemoryBudget {
    pub(super) fn new(max: u64) -> Self {
        Self { max, used: AtomicU64::new(0) }
    }

    /// Bytes that instances have now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Limit of these bytes.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    fn take(&self, bytes: u64) -> Result<(), MemoryBudgetExceeded> {
        let take = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.max);
        self.used.try_update(Relaxed, Relaxed, take).map(drop).map_err(|_| MemoryBudgetExceeded)
    }
}

/// Share of the budget that the memories of one instance take. Dropping it returns the share.
pub(super) struct MemoryUse {
    budget: Arc<MemoryBudget>,
    /// Bytes that each memory may have.
    max_memory: u64,
    used: u64,
    /// The last growth, which may still fail.
    last_growth: u64,
    has_failed_to_grow: bool,
}

impl MemoryUse {
    pub(super) fn new(budget: Arc<MemoryBudget>, max_memory: u64) -> Self {
        Self { budget, max_memory, used: 0, last_growth: 0, has_failed_to_grow: false }
    }

    /// Whether a memory could not grow any more.
    pub(super) fn has_failed_to_grow(&self) -> bool {
        self.has_failed_to_grow
    }
}

impl ResourceLimiter for MemoryUse {
    /// Called for the first pages of a memory too.
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        self.last_growth = 0;
        if desired as u64 > self.max_memory {
            self.has_failed_to_grow = true;
            return Ok(false);
        }
        self.budget.take(growth)?;
        self.used += growth;
        self.last_growth = growth;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> Result<()> {
        self.has_failed_to_grow = true;
        let growth = std::mem::take(&mut self.last_growth);
        self.used -= growth;
        self.budget.used.fetch_sub(growth, Relaxed);
        Ok(())
    }

    /// The pool bounds tables.
    fn table_growing(&mut self, _current: usize, _desired: usize, _maximum: Option<usize>) -> Result<bool> {
        Ok(true)
    }
}

impl Drop for MemoryUse {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.used, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_share_the_budget_and_return_it() {
        let budget = Arc::new(MemoryBudget::new(100));
        let mut first = MemoryUse::new(Arc::clone(&budget), 1000);
        let mut second = MemoryUse::new(Arc::clone(&budget), 1000);
        assert!(first.memory_growing(0, 60, None).unwrap());
        assert!(second.memory_growing(0, 41, None).unwrap_err().is::<MemoryBudgetExceeded>());
        assert!(second.memory_growing(0, 40, None).unwrap());
        assert_eq!(budget.used(), 100);
        second.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert_eq!(budget.used(), 60);
        drop(first);
        assert!(second.memory_growing(0, 100, None).unwrap());
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_policy_may_have_less_memory_than_the_sandbox_allows() {
        let mut memory = MemoryUse::new(Arc::new(MemoryBudget::new(100)), 50);
        assert!(memory.memory_growing(0, 50, None).unwrap() && !memory.has_failed_to_grow());
        assert!(!memory.memory_growing(50, 51, None).unwrap() && memory.has_failed_to_grow());
    }
}
