//! What bounds a request and a policy.

use std::num::NonZero;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// What bounds a request and a policy.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How long a policy may take for one login. It counts wall time in steps of 10 ms.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// The most memory that one instance of a policy may have.
    pub memory: ByteSize,
    /// The most that a policy may answer with, and the most that it may hand to the host at once.
    pub answer: ByteSize,
    /// After so many calls an instance is replaced. 1: every login has a fresh one.
    pub calls_per_instance: NonZero<u32>,
    /// The longest body that is read.
    pub body: ByteSize,
    /// The most connections of brokers at once; further ones wait. Brokers keep few: EMQX has 8 for each of its nodes.
    pub connections: NonZero<usize>,
    /// How long a head and a body may take to arrive once they have begun to, and a broker to take some of an answer.
    #[serde(with = "humantime_serde")]
    pub request: Duration,
    /// How long what is in flight may take when the gate stops.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(200),
            memory: ByteSize::mib(16),
            answer: ByteSize::kib(64),
            calls_per_instance: NonZero::new(100_000).unwrap_or(NonZero::<u32>::MIN),
            body: ByteSize::kib(64),
            connections: NonZero::new(4096).unwrap_or(NonZero::<usize>::MIN),
            request: Duration::from_secs(10),
            drain: Duration::from_secs(10),
        }
    }
}
