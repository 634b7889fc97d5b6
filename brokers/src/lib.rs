//! How each MQTT broker asks who may connect and what a client may do, and how it wants to be answered.
//!
//! ```text
//! an HTTP request ─► Route::read ─► Parsed: a AuthRequest to the policy, and the operator's Mistakes
//! the verdict ─► Route::admit, Route::permit ─► Outcome ─► Route::render ─► Reply
//! ```
//!
//! A [`Route`] is one question in one dialect, as pure functions. There is no I/O here, and no part of a request is ever
//! repeated in a reply.

mod auth_request;
mod cors;
mod dialect;
mod dispatch;
mod error;
mod grant;
mod parse;
mod reply;
mod route;
mod warning;

pub use auth_request::{Action, AuthRequest, AuthorizeRequest, Credentials, Parsed, TopicAccess};
pub use cors::{CORS_HEADERS, not_found_text};
pub use dispatch::{RequestHead, RequestKind};
pub use error::{RequestError, SECRET_HEADER};
pub use grant::{Access, AllowReply, Grant, UnsupportedGrant};
pub use parse::request::{Method, Request};
pub use reply::{Outcome, Reply};
pub use route::Route;
pub use warning::ConfigWarning;
