//! mqtt-gate from outside: real components, real sockets, the real program.
//!
//! `gate` runs the product and `process` the program, `http` speaks to it, `device` is who wants in; every other file holds one promise.

mod architecture;
mod candidates;
mod connections;
mod credentials;
mod device;
mod findings;
mod gate;
mod grants;
mod http;
mod logins;
mod process;
mod program;
mod sandbox;
mod storm;
mod swap;
