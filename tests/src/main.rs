//! mqtt-gate from outside: real components, real sockets, the real program.
//!
//! `gate` runs the product and `process` the program, `http` speaks to it, `broker` runs real brokers, `mqtt` speaks to
//! them, `device` is who wants in, `operator` who runs the gate; every other file holds one promise.

mod amqtt;
mod architecture;
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
mod logins;
mod mqtt;
mod operator;
mod process;
mod program;
mod rabbitmq;
mod sandbox;
mod status_verb;
mod storm;
mod swap;
mod swap_verb;
mod verbs;
