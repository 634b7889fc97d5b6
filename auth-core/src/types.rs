//! What goes into a judgement and what comes out of it.

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
    Deny(DenyReason),
}

/// Why a device was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyReason {
    /// The client id is malformed, or its group is not let in.
    ClientIdentifierNotValid,
    /// The user name or the password is missing, malformed or wrong.
    BadUserNameOrPassword,
}

/// What a client that is connected wants to do. The broker says who it is, and nobody has proved it here.
#[derive(Clone, Copy)]
pub struct AuthorizeRequest<'a> {
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

/// The answer to a request.
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

/// The topics of one device, as MQTT topic filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// What it may publish to.
    pub publish: Vec<String>,
    /// What it may subscribe to.
    pub subscribe: Vec<String>,
}
