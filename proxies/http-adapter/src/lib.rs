//! Puts a policy behind `wasi:http`: one component with it, made by `mqtt-gate compose`, answers a broker's callback by
//! itself wherever such components run.
//!
//! ```text
//! request.rs      the request, its body bounded ─► brokers  RequestKind::of, Route::read
//! lib.rs          the routes; a fault becomes a refusal there, in one line
//! policy.rs       what the policy says, and what that comes to ─► the policy, an import
//! status_page.rs  what people look at
//! response.rs     the answer, sent
//! ```
//!
//! It answers as the native host does. Never true: that a fault is answered as `allow`; that a policy judges which has not
//! shown by its `check()` that it can work with its settings; that a request, a setting or what a policy says of itself is
//! repeated in an answer. It has no path that panics. A policy that traps takes the adapter with it, and the
//! host around both answers for them: see docs/PROXIES.md for what brokers make of that.

use bindings::exports::wasi::http::incoming_handler::Guest;
use bindings::wasi::http::types::{IncomingRequest, ResponseOutparam};
use brokers::{Method, Outcome, Reply, RequestError, RequestKind, Route};

use request::Request;
use response::Answer;

mod policy;
mod request;
mod response;
mod status_page;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "http-adapter", generate_all });
}

/// The adapter, as a component exports it.
pub struct Adapter;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated from wit/")]
mod exports {
    use super::{Adapter, bindings};

    bindings::export!(Adapter with_types_in bindings);
}

impl Guest for Adapter {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        answer(&Request::read(&request)).send(out);
    }
}

/// Answers one request.
fn answer(request: &Request) -> Answer {
    match request.errand() {
        RequestKind::Check(route, method) => {
            let answer = Answer::to_broker(route, reply(route, method, request));
            // A browser says which page asks; what brokers never look at costs them nothing.
            if route == Route::MqttAuth && request.is_cross_origin() { answer.with_cors() } else { answer }
        }
        RequestKind::StatusPage => status_page::look(request),
        RequestKind::EmqxFallback => {
            let problem = Outcome::Malformed(&RequestError::Route);
            Answer::to_broker(Route::EmqxAuth, Route::EmqxAuth.render(problem))
        }
        RequestKind::NotFound => status_page::elsewhere(),
    }
}

/// What a broker is answered on its own route.
fn reply(route: Route, method: Option<Method>, request: &Request) -> Reply {
    match request.ask(route, method) {
        // The one place where a fault gets its answer: it is refused.
        Ok(asked) => route.render(policy::decide(route, asked.request).unwrap_or(Outcome::Error)),
        Err(problem) => route.render(Outcome::Malformed(&problem)),
    }
}
