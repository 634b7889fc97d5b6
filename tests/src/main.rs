//! mqtt-gate from outside: real components, real sockets, the real program.
//!
//! `support` is the harness. The other folders mirror the product. Modules named `external` need programs that
//! `tests/setup` installs: brokers, Envoy, a browser, Node or Python. `--skip ::external::` leaves them out.

mod admin;
mod architecture;
mod brokers;
mod chain;
mod cli;
mod deploy;
mod http;
mod net;
mod policy;
mod proxies;
mod reload;
mod security;
mod support;
mod telemetry;
