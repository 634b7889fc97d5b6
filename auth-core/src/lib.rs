//! The default policy of mqtt-gate: a device proves its identity by a signature over its client id and user name.
//!
//! ```text
//! client id   group@@@mac@@@suffix                               identity.rs
//! user name   base64 of a JSON object with the field `ip`        username.rs
//! password    base64 of HMAC-SHA256(key, client id | user name)  signature.rs
//! ```
//!
//! The library consists of pure functions. Only `component/` calls the host. Nothing here reads a clock, keeps state
//! between two logins, or puts a credential or a key into an error.
//!
//! Each module imports only modules above it: `types`; `identity`, `username`, `signature`, `filter`; `topics`;
//! `settings`; `policy`; `component`.

#[cfg(feature = "component")]
pub mod component;
mod filter;
pub mod identity;
mod policy;
pub mod settings;
pub mod signature;
mod topics;
mod types;
pub mod username;

pub use policy::{authenticate, authorize};
pub use settings::Settings;
pub use types::{
    Access, Action, AuthorizeRequest, Credentials, Denial, DenyReason, Grant, Permission, Topics, UnixTime, Verdict,
};
