//! The default policy of mqtt-gate: a device proves who it is by a signature over its client id and user name.
//!
//! ```text
//! client id   group@@@mac@@@third                          identity.rs
//! user name   base64 of a JSON object with the member `ip`  username.rs
//! password    base64 of HMAC-SHA256(key, client id | user name)  signature.rs
//! ```
//!
//! This is a library of pure functions; `component.rs` is the one file that touches the outside. Nothing here looks
//! at a clock, keeps anything from one login to the next, or puts a credential or a key into an error.

use identity::DeviceId;

#[cfg(feature = "component")]
pub mod component;
mod filter;
pub mod identity;
pub mod settings;
pub mod signature;
pub mod topics;
pub mod username;

pub use settings::Settings;
pub use topics::Topics;

/// What a client sent in its CONNECT packet. Nothing in it has been verified.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The client identifier.
    pub client_id: &'a str,
    /// The user name, if one was sent.
    pub username: Option<&'a str>,
    /// The password, if one was sent.
    pub password: Option<&'a [u8]>,
}

/// A moment, in seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

/// The answer to a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The device is who it says it is, and may connect.
    Allow(Grant),
    /// It may not.
    Deny(Reason),
}

/// Why a device was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client id is malformed, or its group is not let in.
    ClientIdentifierNotValid,
    /// The user name or the password is missing, malformed or wrong.
    BadUserNameOrPassword,
}

/// What a client that is connected wants to do. The broker says who it is, and nobody has proved it here.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// The client identifier.
    pub client_id: &'a str,
    /// The user name, if the broker tells it.
    pub username: Option<&'a str>,
    /// Which way.
    pub action: Action,
    /// The topic name of a publish, or the topic filter of a subscribe. Empty: may a device of this name be connected?
    pub topic: &'a str,
}

/// What a device can do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send to it.
    Publish,
    /// Receive from it.
    Subscribe,
}

/// The answer to a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// A device of this name may do it.
    Allow,
    /// It may not, or there can be no such device.
    Deny,
    /// That is left to the broker's own rules.
    Ignore,
}

/// What an admitted device gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The topics it may use.
    pub access: Access,
    /// When its session ends; `None`: never.
    pub expires_at: Option<UnixTime>,
    /// The id of the key that vouched for it. Never the key.
    pub key_id: Option<String>,
}

/// Which topics a device may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every topic.
    Everything,
    /// These and no others.
    Only(Topics),
    /// Whatever the broker's own rules say.
    BrokerRules,
}

/// Judges one device.
///
/// What depends on the device (topics, superusers, expiry) is looked at only once its signature is known to be good; the
/// clock, only if sessions end, because a component has to call its host for the time.
#[must_use]
pub fn authenticate(who: &Credentials, settings: &Settings, now: impl FnOnce() -> UnixTime) -> Verdict {
    let Some(device) = DeviceId::parse(who.client_id).filter(|device| settings.lets_in(device.group)) else {
        return Verdict::Deny(Reason::ClientIdentifierNotValid);
    };
    let Some(username) = who.username.filter(|username| username::is_well_formed(username)) else {
        return Verdict::Deny(Reason::BadUserNameOrPassword);
    };
    let password = who.password.unwrap_or_default();
    let Some(key) = settings.keys.vouching_for(device.client_id, username, password) else {
        return Verdict::Deny(Reason::BadUserNameOrPassword);
    };
    Verdict::Allow(Grant {
        access: settings.access(&device),
        expires_at: settings.session_end(now),
        key_id: key.id().map(str::to_owned),
    })
}

/// Judges what a connected device wants to do, by the topics that a device of this name is granted when it connects.
///
/// Nothing is allowed to a client that [`authenticate`] could never have let in.
#[must_use]
pub fn authorize(wish: &Wish, settings: &Settings) -> Permission {
    let Some(device) = DeviceId::parse(wish.client_id).filter(|device| settings.lets_in(device.group)) else {
        return Permission::Deny;
    };
    if wish.username.is_some_and(|username| !username::is_well_formed(username)) {
        return Permission::Deny;
    }
    if wish.topic.is_empty() {
        return Permission::Allow;
    }
    match settings.access(&device) {
        Access::Everything => Permission::Allow,
        Access::BrokerRules => Permission::Ignore,
        Access::Only(topics) if topics.allow(wish.action, wish.topic) => Permission::Allow,
        Access::Only(_) => Permission::Deny,
    }
}
