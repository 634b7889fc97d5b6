//! mqtt-gate from outside: real components, real sockets, the real program.
//!
//! `gate` runs the product and `process` the program, `http` speaks to it, `broker` runs real brokers, `mqtt` and
//! `raw_mqtt` speak to them, `envoy` runs Envoy with the filter in it, `log` keeps what programs say, `device` is who wants
//! in and `strangers` who is kept out; every other file holds one promise.

mod amqtt;
mod architecture;
mod broker;
mod candidates;
mod connections;
mod credentials;
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
mod log;
mod logins;
mod mqtt;
mod process;
mod program;
mod rabbitmq;
mod raw_mqtt;
mod sandbox;
mod storm;
mod strangers;
mod swap;
