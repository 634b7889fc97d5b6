//! The CONNACK packet that rejects a client.

use auth_core::{Denial, DenyReason};

use super::connect::Version;

/// The reason for a rejection, as the client receives it. Named after the reason codes of MQTT 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The protocol version is not supported.
    UnsupportedProtocolVersion,
    /// The client identifier is malformed, or its group is not allowed.
    ClientIdentifierNotValid,
    /// The user name or the password is missing, malformed or wrong.
    BadUserNameOrPassword,
    /// The credentials are genuine but do not allow this connection. The default policy does not use this reason.
    NotAuthorized,
    /// The client is banned. The default policy does not use this reason.
    Banned,
    /// The client requests enhanced authentication, which is not supported.
    BadAuthenticationMethod,
    /// There is no verdict, or the filter could not act on it. Not the client's fault.
    ServerUnavailable,
}

impl From<Denial> for Rejection {
    fn from(denial: Denial) -> Self {
        match denial.reason() {
            DenyReason::ClientIdentifierNotValid => Self::ClientIdentifierNotValid,
            DenyReason::BadUserNameOrPassword => Self::BadUserNameOrPassword,
        }
    }
}

impl Rejection {
    /// Encodes the packet.
    #[must_use]
    pub fn connack(self, version: Version) -> Vec<u8> {
        match version {
            Version::V3 => vec![0x20, 2, 0, self.return_code()],
            Version::V5 => vec![0x20, 3, 0, self.reason_code(), 0],
        }
    }

    /// The name of the reason in logs; that of the contract, if the contract has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UnsupportedProtocolVersion => "protocol-version",
            Self::ClientIdentifierNotValid => DenyReason::ClientIdentifierNotValid.name(),
            Self::BadUserNameOrPassword => DenyReason::BadUserNameOrPassword.name(),
            Self::NotAuthorized => "not-authorized",
            Self::Banned => "banned",
            Self::BadAuthenticationMethod => "authentication-method",
            Self::ServerUnavailable => "no-verdict",
        }
    }

    /// The return code of MQTT 3.1.1. Code 2 (identifier rejected) is not used: clients would try another identifier.
    fn return_code(self) -> u8 {
        match self {
            Self::UnsupportedProtocolVersion => 1,
            Self::ServerUnavailable => 3,
            Self::BadUserNameOrPassword => 4,
            Self::ClientIdentifierNotValid | Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
        }
    }

    /// The reason code of MQTT 5.
    fn reason_code(self) -> u8 {
        match self {
            Self::UnsupportedProtocolVersion => 0x84,
            Self::ClientIdentifierNotValid => DenyReason::ClientIdentifierNotValid.mqtt5_code(),
            Self::BadUserNameOrPassword => DenyReason::BadUserNameOrPassword.mqtt5_code(),
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
