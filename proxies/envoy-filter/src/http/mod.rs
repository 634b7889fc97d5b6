//! The HTTP filter, which answers brokers.

pub(crate) mod filter;
pub mod handler;
