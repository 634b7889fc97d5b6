//! Helpers that know nothing of policies.

pub mod file;
pub mod name;
pub mod sanitize;
pub mod thread_index;
