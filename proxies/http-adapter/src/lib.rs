//! Puts a policy behind `wasi:http`. `mqtt-gate compose` makes one component of this adapter and a policy. That
//! component answers brokers by itself wherever `wasi:http` components run.
//!
//! ```text
//! request.rs   receives the request, with its body bounded
//! policy.rs    calls the policy, an import, for brokers::respond
//! response.rs  sends the response
//! ```
//!
//! It responds as the native host does:
//!
//! - A fault is never answered as `allow`.
//! - A policy is called only after its `check()` has accepted its settings.
//! - A response never repeats a request, a setting, or an error text of the policy.
//!
//! The adapter has no path that panics. A policy that traps takes the adapter with it, and the host around both sends
//! the response: docs/PROXIES.md says how brokers read it.

use bindings::exports::wasi::http::incoming_handler::Guest;
use bindings::wasi::http::types::{IncomingRequest, ResponseOutparam};

use policy::ImportedPolicy;
use request::ReceivedRequest;

mod policy;
mod request;
mod response;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "http-adapter", generate_all });
}

/// The adapter, as the component exports it.
pub struct Adapter;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated from wit/")]
mod exports {
    use super::{Adapter, bindings};

    bindings::export!(Adapter with_types_in bindings);
}

impl Guest for Adapter {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let response = ReceivedRequest::receive(&request).respond(&ImportedPolicy);
        response::send(&response, out);
    }
}
