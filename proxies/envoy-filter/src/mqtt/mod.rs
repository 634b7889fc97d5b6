//! The TCP filter, which keeps clients with bad credentials from a broker.

pub mod connack;
pub mod connect;
pub(crate) mod filter;
mod packet;
mod properties;
