//! The servers that the benchmark measures.

pub(crate) mod axum_native;
pub(crate) mod evaluators;
pub(crate) mod hyper_baseline;
mod target;

pub(crate) use target::{Contestant, Kind, Setup, free_address, until_it_says};
