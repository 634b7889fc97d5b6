//! `[limits]`: bounds of requests, connections and policies.

use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use mqtt_gate_engine as engine;
use serde::Deserialize;

use super::{ConfigError, check_range};
use crate::util::cgroup::memory_limit;

/// More connections than a process may open on the systems that we know.
const MAX_CONNECTIONS: usize = 1_000_000;

/// Enough for a policy of some megabytes.
const MAX_DEFAULT_COMPILE_MEMORY: u64 = 256 << 20;

/// Instances for which there must be memory: one at work, one in preflight, and one more of each.
const MIN_INSTANCES: u64 = 4;

/// Limits of requests, connections and policies.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [limits]")]
pub struct Limits {
    /// Processor time that one call of a policy may use, enforced in steps of 10 ms.
    #[serde(with = "humantime_serde")]
    pub policy_timeout: Duration,
    /// Wall time that one request may take, on a machine that is too busy to give its call `policy_timeout`. Absent: 2 s,
    /// which is well below the 5 s that EMQX waits, or `policy_timeout` if that is longer.
    #[serde(with = "humantime_serde")]
    pub policy_wall_timeout: Option<Duration>,
    /// Memory of one instance of a policy.
    pub max_memory: ByteSize,
    /// Memory of the instances of all policies together. Beyond it, calls are denied until instances are free. Absent: half
    /// of the memory limit of the container or service, at most 1 GiB, at least four instances.
    pub max_total_policy_memory: Option<ByteSize>,
    /// Size of what a policy may return from one call, and pass to the host at once.
    pub max_policy_output: ByteSize,
    /// Calls after which an instance is replaced. 1: each call gets a fresh instance.
    pub max_calls_per_instance: NonZero<u32>,
    /// Time for compiling a policy, in a process of its own.
    #[serde(with = "humantime_serde")]
    pub compile_timeout: Duration,
    /// Memory for compiling a policy. Absent: a third of the memory limit of the container or service, at most 256 MiB.
    pub max_compile_memory: Option<ByteSize>,
    /// Size of a request body.
    pub max_body: ByteSize,
    /// Memory that unfinished requests of all connections take together. Beyond it the oldest of them is closed.
    pub max_buffered: ByteSize,
    /// Open connections of brokers. Further connections wait until one closes. A broker keeps few connections: EMQX
    /// keeps 8 from each of its nodes.
    pub max_connections: NonZero<usize>,
    /// Time for a request to arrive once its first byte has, and for a client to read some of a response.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Time for requests in flight to complete when the gate stops.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let engine::Limits { policy_timeout, max_memory, max_policy_output, max_calls_per_instance, .. } =
            engine::Limits::default();
        Self {
            policy_timeout,
            policy_wall_timeout: None,
            max_memory: ByteSize(max_memory),
            max_total_policy_memory: None,
            max_policy_output: ByteSize(max_policy_output),
            max_calls_per_instance,
            compile_timeout: Duration::from_secs(10),
            max_compile_memory: None,
            max_body: ByteSize::kib(64),
            max_buffered: ByteSize::mib(32),
            max_connections: NonZero::new(4096).unwrap_or(NonZero::<usize>::MIN),
            request_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// The limits that the engine enforces.
    #[must_use]
    pub fn engine(&self) -> engine::Limits {
        engine::Limits {
            policy_timeout: self.policy_timeout,
            policy_wall_timeout: self.policy_wall_timeout(),
            max_memory: self.max_memory.as_u64(),
            max_total_memory: self.max_total_policy_memory().as_u64(),
            max_policy_output: self.max_policy_output.as_u64(),
            max_calls_per_instance: self.max_calls_per_instance,
        }
    }

    /// `max_compile_memory`, or its default on this machine.
    #[must_use]
    pub fn max_compile_memory(&self) -> ByteSize {
        self.max_compile_memory.unwrap_or_else(|| {
            ByteSize(memory_limit().map_or(u64::MAX, |limit| limit / 3).min(MAX_DEFAULT_COMPILE_MEMORY))
        })
    }

    /// `policy_wall_timeout`, or its default.
    fn policy_wall_timeout(&self) -> Duration {
        self.policy_wall_timeout
            .unwrap_or_else(|| engine::Limits::default().policy_wall_timeout.max(self.policy_timeout))
    }

    /// `max_total_policy_memory`, or its default on this machine.
    fn max_total_policy_memory(&self) -> ByteSize {
        self.max_total_policy_memory.unwrap_or_else(|| {
            let half = memory_limit().map_or(u64::MAX, |limit| limit / 2);
            ByteSize(half.min(engine::Limits::default().max_total_memory).max(MIN_INSTANCES * self.max_memory.as_u64()))
        })
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let seconds = Duration::from_secs;
        // The epoch of the sandbox advances every 10 ms. A broker gives up on a login within a minute.
        check_time("limits.policy_timeout", self.policy_timeout, Duration::from_millis(10)..=seconds(60))?;
        if let Some(wall_timeout) = self.policy_wall_timeout {
            check_time("limits.policy_wall_timeout", wall_timeout, self.policy_timeout..=seconds(60))?;
        }
        // A page of WebAssembly is 64 KiB. 32-bit memories end at 4 GiB.
        check_size("limits.max_memory", self.max_memory, ByteSize::kib(64)..=ByteSize::gib(4))?;
        if let Some(total) = self.max_total_policy_memory {
            let min = ByteSize(MIN_INSTANCES * self.max_memory.as_u64());
            check_size("limits.max_total_policy_memory", total, min..=ByteSize::tib(1))?;
        }
        check_size("limits.max_policy_output", self.max_policy_output, ByteSize::kib(1)..=ByteSize::mib(16))?;
        check_time("limits.compile_timeout", self.compile_timeout, Duration::from_millis(100)..=seconds(3600))?;
        if let Some(memory) = self.max_compile_memory {
            check_size("limits.max_compile_memory", memory, ByteSize::mib(32)..=ByteSize::gib(64))?;
        }
        check_size("limits.max_body", self.max_body, ByteSize::kib(1)..=ByteSize::mib(16))?;
        // A request is a head of up to 128 KiB and a body.
        let min_buffered = ByteSize(self.max_body.as_u64() + (256 << 10));
        check_size("limits.max_buffered", self.max_buffered, min_buffered..=ByteSize::gib(64))?;
        check_range("limits.max_connections", self.max_connections.get(), 1..=MAX_CONNECTIONS, ToString::to_string)?;
        // Below 100 ms one lost packet already ends a request.
        check_time("limits.request_timeout", self.request_timeout, Duration::from_millis(100)..=seconds(3600))?;
        check_time("limits.drain_timeout", self.drain_timeout, Duration::from_millis(1)..=seconds(3600))
    }
}

fn check_time(key: &'static str, value: Duration, range: RangeInclusive<Duration>) -> Result<(), ConfigError> {
    check_range(key, value, range, |bound| humantime::format_duration(*bound).to_string())
}

fn check_size(key: &'static str, value: ByteSize, range: RangeInclusive<ByteSize>) -> Result<(), ConfigError> {
    check_range(key, value, range, |bound| format!("{:.0}", bound.display().iec()))
}
