//! The default policy as a proxy-wasm filter for Envoy. One module contains two filters; the configuration selects one.
//!
//! ```text
//! HTTP filter   broker's request ─► http/filter.rs ─► brokers::respond ─► http/policy.rs: auth-core ─► local reply
//! TCP filter    client's CONNECT ─► mqtt/filter.rs ─► mqtt/connect.rs ─► auth-core ─► to the broker, or mqtt/connack.rs
//! ```
//!
//! Envoy runs core modules, not components, so the policy is linked in as a library. It cannot be swapped, and its only
//! sandbox is that of the filter.
//!
//! No input of a client causes a panic: it gets an answer, or its connection is closed. A panic is a trap, and closes
//! every connection of the worker thread. `host_calls.rs` lists the SDK calls that panic, and why they do not here.
//!
//! Each module imports only modules above it: `host_calls`, `log_once`, `deadlines`; `config`; `http`, `mqtt`; `root`.

pub mod config;
pub mod deadlines;
mod host_calls;
mod http;
mod log_once;
pub mod mqtt;
pub mod root;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "Envoy calls the entry point by its exported name")]
mod start {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| crate::root::root());
    }}
}
