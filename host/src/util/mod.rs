//! Helpers that know nothing of the gate.

pub(crate) mod cgroup;
pub(crate) mod label_set;
pub(crate) mod log_throttle;
