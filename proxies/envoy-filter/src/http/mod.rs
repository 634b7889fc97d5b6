//! The HTTP filter: answers the requests of brokers.

pub(crate) mod filter;
mod policy;
