//! mqtt-gate from outside: real components, real sockets, the real program.
//!
//! `gate` runs the product and `process` the program, `http` speaks to it, `broker` runs real brokers, `mqtt` and
//! `raw_mqtt` speak to them, `device` is who wants in and `strangers` who is kept out; `questions` holds what they ask;
//! `composition` puts policies behind `wasi:http`, `wasi_http` and `jco` run those, `envoy` runs Envoy with the filter in it,
//! `log` keeps what programs say, `operator` runs the gate, `manager` starts it as systemd does, `authority` makes
//! certificates; every other file holds one promise.

mod access;
mod amqtt;
mod architecture;
mod authority;
mod broker;
mod candidates;
mod compose;
mod composition;
mod conformance;
mod connections;
mod credentials;
mod decisions;
mod deploy;
mod device;
mod emqx;
mod envoy;
mod envoy_http;
mod envoy_mqtt;
mod findings;
mod gate;
mod grants;
mod http;
mod jco;
mod last_good;
mod log;
mod logins;
mod manager;
mod metrics;
mod mqtt;
mod operator;
mod page;
mod process;
mod program;
mod proxies;
mod questions;
mod rabbitmq;
mod raw_mqtt;
mod restart;
mod safeguards;
mod sandbox;
mod status_verb;
mod storm;
mod strangers;
mod supervised;
mod swap;
mod swap_verb;
mod tls;
mod traces;
mod verbs;
mod wasi_http;
