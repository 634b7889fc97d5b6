//! The servers that the benchmark measures.

pub(crate) mod axum_native;
pub(crate) mod evaluators;
pub(crate) mod hyper_baseline;
pub(crate) mod process;
pub(crate) mod proxy;
mod target;

pub(crate) use target::{Setup, Target, TargetKind};
