//! How each MQTT broker asks who may connect and what a client may do, and how it wants to be answered.
//!
//! ```text
//! an HTTP request ─► Route::read ─► Asked: a Question to the policy, and the operator's Mistakes
//! the verdict ─► Route::admit, Route::permit ─► Outcome ─► Route::render ─► Reply
//! ```
//!
//! A [`Route`] is one question in one dialect, as pure functions. There is no I/O here, and no part of a request is ever
//! repeated in a reply.

mod emqx;
mod errand;
mod front;
mod grant;
mod json;
mod malformed;
mod members;
mod mistake;
mod mosquitto;
mod question;
mod rabbitmq;
mod reply;
mod request;
mod route;
mod rules;
mod status;
mod vernemq;

pub use errand::{Errand, Head};
pub use front::{CROSS_ORIGIN, no_such_route};
pub use grant::{Access, Admission, Grant, UnfitGrant};
pub use malformed::Malformed;
pub use mistake::Mistake;
pub use question::{Action, Actions, Asked, Credentials, Question, Wanted};
pub use reply::{Outcome, Reply};
pub use request::{Method, Request};
pub use route::Route;
