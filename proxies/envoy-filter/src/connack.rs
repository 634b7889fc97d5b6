//! The CONNACK that turns a client away.

use auth_core::Reason;

use crate::connect::Version;

/// Why a client is turned away, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its version of MQTT is not let in.
    ProtocolVersion,
    /// Its client identifier is malformed, or its group is not let in.
    ClientIdentifier,
    /// Its user name or password is missing, malformed or wrong.
    BadUserNameOrPassword,
    /// It wants to prove who it is in a way that is not judged here.
    AuthenticationMethod,
    /// There is no verdict, or it could not be acted on. Not the client's fault.
    Unavailable,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::ClientIdentifierNotValid => Self::ClientIdentifier,
            Reason::BadUserNameOrPassword => Self::BadUserNameOrPassword,
        }
    }
}

impl Refusal {
    /// The packet.
    #[must_use]
    pub fn connack(self, version: Version) -> Vec<u8> {
        match version {
            Version::V3 => vec![0x20, 2, 0, self.return_code()],
            Version::V5 => vec![0x20, 3, 0, self.reason_code(), 0],
        }
    }

    /// The name of the reason in the log: that of the contract, where it is one.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ProtocolVersion => "protocol-version",
            Self::ClientIdentifier => "client-identifier-not-valid",
            Self::BadUserNameOrPassword => "bad-user-name-or-password",
            Self::AuthenticationMethod => "authentication-method",
            Self::Unavailable => "no-verdict",
        }
    }

    /// MQTT 3.1.1. Of a client identifier, 2 would say that it should try another one.
    fn return_code(self) -> u8 {
        match self {
            Self::ProtocolVersion => 1,
            Self::Unavailable => 3,
            Self::BadUserNameOrPassword => 4,
            Self::ClientIdentifier | Self::AuthenticationMethod => 5,
        }
    }

    /// MQTT 5.
    fn reason_code(self) -> u8 {
        match self {
            Self::ProtocolVersion => 0x84,
            Self::ClientIdentifier => 0x85,
            Self::BadUserNameOrPassword => 0x86,
            Self::Unavailable => 0x88,
            Self::AuthenticationMethod => 0x8c,
        }
    }
}
