//! mqtt-gate from outside: real components, real sockets, the real program.
//!
//! `gate` runs the product and `process` the program, `manager` starts it as systemd does, `http` speaks to it, `authority`
//! makes certificates, `broker` runs real brokers, `mqtt` speaks to them, `device` is who wants in; every other file holds one promise.

mod access;
mod amqtt;
mod architecture;
mod authority;
mod broker;
mod candidates;
mod connections;
mod credentials;
mod deploy;
mod device;
mod emqx;
mod findings;
mod gate;
mod grants;
mod http;
mod last_good;
mod logins;
mod manager;
mod mqtt;
mod process;
mod program;
mod rabbitmq;
mod restart;
mod sandbox;
mod storm;
mod supervised;
mod swap;
mod tls;
