//! Connections of brokers: listen, accept, distribute to workers, serve, drain.

pub(crate) mod accept;
mod coalesce;
mod connection;
mod drain;
pub(crate) mod heartbeat;
mod http1_patch;
pub(crate) mod listen;
mod progress_timeout;
pub(crate) mod worker;
