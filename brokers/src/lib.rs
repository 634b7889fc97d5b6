//! How each MQTT broker asks whether a client may connect, publish and subscribe, and how it reads the reply.
//!
//! ```text
//! RequestHead ─► RequestKind::of ─► a Route
//! Request ─► Route::parse ─► Parsed: an AuthRequest to the policy, and ConfigWarnings for the operator
//! the verdict ─► Route::allow_login, Route::allow_action ─► Outcome ─► Route::render ─► Reply
//! ```
//!
//! A [`Route`] is one operation in the dialect of one kind of broker. Everything here is a pure function without I/O,
//! and no reply repeats any part of a request.
//!
//! Three hosts share this crate: the gate, the `wasi:http` adapter and the Envoy filter. The last two call their policy
//! synchronously, so [`respond`] does everything for them but the transport.
//!
//! Modules import only modules above them here (`tests/src/architecture.rs`):
//!
//! ```text
//! emqx_version, foreign_protocol
//! error, filter, grant, permission
//! warning
//! auth_request, reply
//! parse/     request, json, fields ─► client, topic
//! dialect/   http_status, emqx (emqx_acl), mosquitto, rabbitmq, vernemq
//! route
//! routes
//! cors, dispatch
//! respond
//! ```

mod auth_request;
mod cors;
mod dialect;
mod dispatch;
mod emqx_version;
mod error;
mod filter;
mod foreign_protocol;
mod grant;
mod parse;
mod permission;
mod reply;
mod respond;
mod route;
mod routes;
mod warning;

pub use auth_request::{Action, AuthRequest, AuthorizeRequest, Credentials, Parsed, TopicAccess};
pub use cors::HEADERS as CORS_HEADERS;
pub use dispatch::{ADMIN_ADDRESS, RequestHead, RequestKind, UNMATCHED_ROUTE, not_found_text, split_tenant};
pub use emqx_version::{EmqxVersion, InvalidEmqxVersion};
pub use error::{RequestError, SECRET_HEADER};
pub use foreign_protocol::ForeignProtocol;
pub use grant::{Access, Authorizer, Effect, Grant, QosLevels, Rule, RuleAction, UnsupportedGrant, is_key_id};
pub use parse::request::{DEFAULT_MAX_BODY, MAX_DISCARDED_BODY, Method, Request, header_text, split_target};
pub use permission::Permission;
pub use reply::{AllowReply, Outcome, Reply};
pub use respond::{Event, HttpRequest, HttpResponse, PolicyCall, Verdict, respond};
pub use route::Route;
pub use routes::{BrokerKind, FaultReply, Routes};
pub use warning::ConfigWarning;
