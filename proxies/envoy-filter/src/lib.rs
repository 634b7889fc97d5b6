//! mqtt-gate in Envoy: the default policy as a proxy-wasm filter. One module, two filters; the configuration says which.
//!
//! ```text
//! HTTP filter   a broker's question ─► http.rs ─► answer.rs: brokers ─► judge.rs: auth-core ─► a local reply
//! TCP filter    a client's CONNECT ─► mqtt.rs ─► connect.rs ─► judge.rs: auth-core ─► on to the broker, or connack.rs
//! ```
//!
//! Envoy runs core modules and not components, so the policy is linked in as a library: it cannot be swapped, and stands in
//! no sandbox but the filter's own.
//!
//! What a client sends ends in an answer or a closed connection, and never in a panic: a panic is a trap, and costs the
//! worker it happens on every connection that it holds. `envoy.rs` has the calls of the SDK that panic, and why they do not.

pub mod config;
pub mod deadlines;
mod evaluate;
mod host_calls;
pub mod http;
mod log_once;
pub mod mqtt;
pub mod root;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "the entry that Envoy calls is exported by its name")]
mod start {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| crate::root::root());
    }}
}
