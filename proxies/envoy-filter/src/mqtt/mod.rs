//! The TCP filter: forwards only clients with valid credentials to the broker.

pub mod connack;
pub mod connect;
pub(crate) mod filter;
mod packet;
mod properties;
