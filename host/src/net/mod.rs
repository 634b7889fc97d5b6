//! Connections of brokers: listen, accept, distribute to workers, serve, drain.

pub(crate) mod accept;
mod activity;
pub(crate) mod buffer_limit;
mod coalesce;
mod connection;
mod drain;
pub(crate) mod heartbeat;
mod http1_patch;
pub(crate) mod listen;
pub(crate) mod open_files;
mod sweep;
mod turn;
pub(crate) mod worker;
