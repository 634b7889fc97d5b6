//! Connections: limits, timeouts, pipelining, shutdown, and the sockets of a service manager.

mod connection_limit;
mod fairness;
mod listen_addresses;
mod memory;
mod pipelining;
mod restart;
mod shutdown;
mod socket_activation;
mod systemd_notify;
mod timeouts;
