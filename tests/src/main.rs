//! mqtt-gate from outside: real components, real sockets, the real program.
//!
//! `gate` runs the product and `process` the program, `http` speaks to it, `broker` runs real brokers, `mqtt` and
//! `raw_mqtt` speak to them, `device` is who wants in and `strangers` who is kept out; `questions` holds what they ask;
//! `composition` puts policies behind `wasi:http`, `wasi_http` and `jco` run those, `envoy` runs Envoy with the filter in it,
//! `log` keeps what programs say, `operator` runs the gate, `manager` starts it as systemd does, `authority` makes
//! certificates; every other file holds one promise.

mod admin;
mod architecture;
mod brokers;
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
