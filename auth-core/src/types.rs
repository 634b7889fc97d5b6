//! Requests to the policy and its answers.

/// The credentials of a client, from its CONNECT packet. Not verified yet.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The client identifier.
    pub client_id: &'a str,
    /// The user name, if the client sent one.
    pub username: Option<&'a str>,
    /// The password, if the client sent one.
    pub password: Option<&'a [u8]>,
}

/// A time, in seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

/// The answer to a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The credentials are genuine, and the device may connect.
    Allow(Grant),
    /// The device may not connect.
    Deny(Denial),
}

/// The reason for a denied login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The client id is malformed.
    MalformedClientId,
    /// The group of the client id is not allowed.
    UnknownGroup,
    /// There is no user name.
    NoUsername,
    /// The user name is malformed.
    MalformedUsername,
    /// There is no password.
    NoPassword,
    /// The password is not a signature by any of the keys.
    BadSignature,
}

impl Denial {
    /// Every denial.
    pub const ALL: [Self; 6] = [
        Self::MalformedClientId,
        Self::UnknownGroup,
        Self::NoUsername,
        Self::MalformedUsername,
        Self::NoPassword,
        Self::BadSignature,
    ];

    /// The reason of the contract.
    #[must_use]
    pub fn reason(self) -> DenyReason {
        match self {
            Self::MalformedClientId | Self::UnknownGroup => DenyReason::ClientIdentifierNotValid,
            Self::NoUsername | Self::MalformedUsername | Self::NoPassword | Self::BadSignature => {
                DenyReason::BadUserNameOrPassword
            }
        }
    }

    /// The code for the operator.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::MalformedClientId => "malformed-client-id",
            Self::UnknownGroup => "unknown-group",
            Self::NoUsername => "no-username",
            Self::MalformedUsername => "malformed-username",
            Self::NoPassword => "no-password",
            Self::BadSignature => "bad-signature",
        }
    }
}

/// The reason for a denied login, as the contract names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyReason {
    /// The client id is malformed, or its group is not allowed.
    ClientIdentifierNotValid,
    /// The user name or the password is missing, malformed or wrong.
    BadUserNameOrPassword,
}

impl DenyReason {
    /// The name of the reason in logs: that of the case in `wit/`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientIdentifierNotValid => "client-identifier-not-valid",
            Self::BadUserNameOrPassword => "bad-user-name-or-password",
        }
    }

    /// The reason code of an MQTT 5 CONNACK, as in `wit/`.
    #[must_use]
    pub fn mqtt5_code(self) -> u8 {
        match self {
            Self::ClientIdentifierNotValid => 0x85,
            Self::BadUserNameOrPassword => 0x86,
        }
    }
}

/// A publish or subscribe of a connected client. The broker reports the client's identity; it is not verified here.
#[derive(Clone, Copy)]
pub struct AuthorizeRequest<'a> {
    /// The client identifier.
    pub client_id: &'a str,
    /// The user name, if the broker reports it.
    pub username: Option<&'a str>,
    /// The operation.
    pub action: Action<'a>,
}

/// An operation of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Be connected at all. The broker has no credentials to verify.
    ConnectWithoutProof,
    /// Send messages to the topic with this name.
    Publish(&'a str),
    /// Receive messages from the topics of this filter.
    Subscribe(&'a str),
}

/// The answer to an [`AuthorizeRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// A device with this client id may do it.
    Allow,
    /// A device with this client id may not do it, or no such device can exist.
    Deny,
    /// The broker's own rules decide.
    Ignore,
}

/// The rights of a device that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The topics that the device may use.
    pub access: Access,
    /// The end of the session; `None` means that it does not end.
    pub expires_at: Option<UnixTime>,
    /// The id of the key that verified the password. Never the key itself.
    pub key_id: Option<String>,
    /// Attributes of the client for the broker, by name.
    pub attributes: Vec<(String, String)>,
}

/// The topics that a device may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every topic.
    Everything,
    /// These topics and no others.
    Only(Topics),
    /// The topics that the broker's own rules allow.
    BrokerRules,
}

/// The topics of one device, as MQTT topic filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// The topics that the device may publish to.
    pub publish: Vec<String>,
    /// The topics that the device may subscribe to.
    pub subscribe: Vec<String>,
}
