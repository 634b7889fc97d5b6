//! The CONNACK that turns a client away.

use auth_core::DenyReason;

use super::connect::Version;

/// Why a client is turned away, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Its version of MQTT is not let in.
    UnsupportedProtocolVersion,
    /// Its client identifier is malformed, or its group is not let in.
    ClientIdentifierNotValid,
    /// Its user name or password is missing, malformed or wrong.
    BadUserNameOrPassword,
    /// Its credentials are genuine, but not good for this. The default policy has no such reason; the contract has.
    NotAuthorized,
    /// It is barred. As the one before.
    Banned,
    /// It wants to prove who it is in a way that is not judged here.
    BadAuthenticationMethod,
    /// There is no verdict, or it could not be acted on. Not the client's fault.
    ServerUnavailable,
}

impl From<DenyReason> for Rejection {
    fn from(reason: DenyReason) -> Self {
        match reason {
            DenyReason::ClientIdentifierNotValid => Self::ClientIdentifierNotValid,
            DenyReason::BadUserNameOrPassword => Self::BadUserNameOrPassword,
        }
    }
}

impl Rejection {
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
            Self::UnsupportedProtocolVersion => "protocol-version",
            Self::ClientIdentifierNotValid => "client-identifier-not-valid",
            Self::BadUserNameOrPassword => "bad-user-name-or-password",
            Self::NotAuthorized => "not-authorized",
            Self::Banned => "banned",
            Self::BadAuthenticationMethod => "authentication-method",
            Self::ServerUnavailable => "no-verdict",
        }
    }

    /// MQTT 3.1.1. Of a client identifier, 2 would say that it should try another one.
    fn return_code(self) -> u8 {
        match self {
            Self::UnsupportedProtocolVersion => 1,
            Self::ServerUnavailable => 3,
            Self::BadUserNameOrPassword => 4,
            Self::ClientIdentifierNotValid | Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
        }
    }

    /// MQTT 5.
    fn reason_code(self) -> u8 {
        match self {
            Self::UnsupportedProtocolVersion => 0x84,
            Self::ClientIdentifierNotValid => 0x85,
            Self::BadUserNameOrPassword => 0x86,
            Self::NotAuthorized => 0x87,
            Self::ServerUnavailable => 0x88,
            Self::Banned => 0x8a,
            Self::BadAuthenticationMethod => 0x8c,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connack_has_the_code_of_its_version() {
        for (rejection, return_code, reason_code) in [
            (Rejection::UnsupportedProtocolVersion, 1, 0x84),
            (Rejection::ServerUnavailable, 3, 0x88),
            (Rejection::BadUserNameOrPassword, 4, 0x86),
            (Rejection::ClientIdentifierNotValid, 5, 0x85),
            (Rejection::NotAuthorized, 5, 0x87),
            (Rejection::Banned, 5, 0x8a),
            (Rejection::BadAuthenticationMethod, 5, 0x8c),
        ] {
            assert_eq!(rejection.connack(Version::V3), [0x20, 2, 0, return_code], "{rejection:?}");
            assert_eq!(rejection.connack(Version::V5), [0x20, 3, 0, reason_code, 0], "{rejection:?}");
        }
    }
}
