//! Limits of a policy.

use std::num::NonZero;
use std::time::Duration;

/// Limits of every policy that runs in one sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processor time that one call may use, enforced in steps of 10 ms.
    pub policy_timeout: Duration,
    /// Wall time that one request may take, on a machine that is too busy to give its call that processor time.
    pub policy_wall_timeout: Duration,
    /// Linear memory of one instance, in bytes.
    pub max_memory: u64,
    /// Linear memory of the instances of all policies together, in bytes.
    pub max_total_memory: u64,
    /// Bytes that a policy may return from one call, and pass to the host at once.
    pub max_policy_output: u64,
    /// Calls after which an instance is replaced. 1: each call gets a fresh instance.
    pub max_calls_per_instance: NonZero<u32>,
}

/// Limits of one policy. None is wider than that of its sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyLimits {
    /// As [`Limits::policy_timeout`].
    pub policy_timeout: Duration,
    /// As [`Limits::policy_wall_timeout`].
    pub policy_wall_timeout: Duration,
    /// As [`Limits::max_memory`].
    pub max_memory: u64,
    /// As [`Limits::max_policy_output`].
    pub max_policy_output: u64,
    /// As [`Limits::max_calls_per_instance`].
    pub max_calls_per_instance: NonZero<u32>,
}

impl Limits {
    /// The widest limits that a policy in this sandbox may have.
    #[must_use]
    pub fn of_policy(&self) -> PolicyLimits {
        PolicyLimits {
            policy_timeout: self.policy_timeout,
            policy_wall_timeout: self.policy_wall_timeout,
            max_memory: self.max_memory,
            max_policy_output: self.max_policy_output,
            max_calls_per_instance: self.max_calls_per_instance,
        }
    }
}

impl PolicyLimits {
    /// These limits, each lowered to that of `other` if it is wider.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self {
            policy_timeout: self.policy_timeout.min(other.policy_timeout),
            policy_wall_timeout: self.policy_wall_timeout.min(other.policy_wall_timeout),
            max_memory: self.max_memory.min(other.max_memory),
            max_policy_output: self.max_policy_output.min(other.max_policy_output),
            max_calls_per_instance: self.max_calls_per_instance.min(other.max_calls_per_instance),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            policy_timeout: Duration::from_millis(200),
            policy_wall_timeout: Duration::from_secs(2),
            max_memory: 16 << 20,
            max_total_memory: 1 << 30,
            max_policy_output: 64 << 10,
            max_calls_per_instance: NonZero::new(100_000).unwrap_or(NonZero::<u32>::MIN),
        }
    }
}
