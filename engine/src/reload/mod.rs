//! The active policy.

pub mod active;
