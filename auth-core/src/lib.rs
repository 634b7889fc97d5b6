//! The default policy of mqtt-gate: a device proves who it is by a signature over its client id and user name.
//!
//! ```text
//! client id   group@@@mac@@@suffix                          identity.rs
//! user name   base64 of a JSON object with the member `ip`  username.rs
//! password    base64 of HMAC-SHA256(key, client id | user name)  signature.rs
//! ```
//!
//! This is a library of pure functions; `component.rs` is the one file that touches the outside. Nothing here looks
//! at a clock, keeps anything from one login to the next, or puts a credential or a key into an error.

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
    Access, Action, AuthorizeRequest, Credentials, DenyReason, Grant, Permission, Topics, UnixTime, Verdict,
};
