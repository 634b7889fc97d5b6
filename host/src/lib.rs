//! The mqtt-gate host: answers the HTTP callbacks of MQTT brokers with a policy, and swaps the policy while it runs.
//!
//! A folder is a layer. It imports only layers above it in this table.
//!
//! | layer | folder | contents |
//! | --- | --- | --- |
//! | 0 | `util` | bounded label sets, log throttle |
//! | 1 | [`config`] | the configuration file, with defaults and units |
//! | 2 | [`child_compiler`] | compiles policies in a child process |
//! | 2 | [`emqx_api`] | the management API of EMQX: resets its caches after a swap |
//! | 2 | `security` | TLS and shared secrets of the listeners, reloaded when their files change |
//! | 3 | [`decision`] | evaluation of a request on the active policy, and the decision that follows |
//! | 4 | [`telemetry`] | metrics, decision log, traces, configuration warnings, log |
//! | 5 | `http` | one request: parse, decide, record, render |
//! | 6 | `net` | listen, accept, workers, connections, drain |
//! | 7 | `admin` | status, metrics and dashboard for the operator |
//! | 8 | `policy_events`, `systemd`, `server` | wiring and lifecycle |
//!
//! [`compose`] builds components for other hosts. The policy itself runs in the crate `mqtt-gate-engine`.
//!
//! Guarantees: an error is never answered as *allow*; a policy that failed preflight never judges a client; a request is
//! judged by one version of the policy and is not lost in a swap; secrets are never printed.

mod admin;
pub mod builtin;
pub mod child_compiler;
pub mod compose;
pub mod config;
mod config_file;
pub mod decision;
pub mod emqx_api;
mod gate_reloader;
mod http;
mod net;
mod policy_events;
mod security;
mod server;
mod systemd;
pub mod telemetry;
mod util;

pub use admin::status_response;
pub use child_compiler::ChildCompiler;
pub use gate_reloader::{ConfigFile, ConfigLoader, SitesError};
pub use net::listen::{BindError, InheritedSockets, InheritedSocketsError, Listeners};
pub use net::open_files::raise_open_files;
pub use security::SecurityError;
pub use server::{ServeError, Server, serve, serve_with};
