//! The CONNACK that turns a client away.

use auth_core::DenyReason;

use super::connect::Version;

/// Why a client is turned away, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its version of MQTT is not let in.
    ProtocolVersion,
    /// Its client identifier is malformed, or its group is not let in.
    ClientIdentifier,
    /// Its user name or password is missing, malformed or wrong.
    BadUserNameOrPassword,
    /// Its credentials are genuine, but not good for this. The default policy has no such reason; the contract has.
    NotAuthorized,
    /// It is barred. As the one before.
    Banned,
    /// It wants to prove who it is in a way that is not judged here.
    AuthenticationMethod,
    /// There is no verdict, or it could not be acted on. Not the client's fault.
    Unavailable,
}

impl From<DenyReason> for Refusal {
    fn from(reason: DenyReason) -> Self {
        match reason {
            DenyReason::ClientIdentifierNotValid => Self::ClientIdentifier,
            DenyReason::BadUserNameOrPassword => Self::BadUserNameOrPassword,
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
            Self::NotAuthorized => "not-authorized",
            Self::Banned => "banned",
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
            Self::ClientIdentifier | Self::NotAuthorized | Self::Banned | Self::AuthenticationMethod => 5,
        }
    }

    /// MQTT 5.
    fn reason_code(self) -> u8 {
        match self {
            Self::ProtocolVersion => 0x84,
            Self::ClientIdentifier => 0x85,
            Self::BadUserNameOrPassword => 0x86,
            Self::NotAuthorized => 0x87,
            Self::Unavailable => 0x88,
            Self::Banned => 0x8a,
            Self::AuthenticationMethod => 0x8c,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_code_in_both_versions() {
        for (refusal, return_code, reason_code) in [
            (Refusal::ProtocolVersion, 1, 0x84),
            (Refusal::Unavailable, 3, 0x88),
            (Refusal::BadUserNameOrPassword, 4, 0x86),
            (Refusal::ClientIdentifier, 5, 0x85),
            (Refusal::NotAuthorized, 5, 0x87),
            (Refusal::Banned, 5, 0x8a),
            (Refusal::AuthenticationMethod, 5, 0x8c),
        ] {
            assert_eq!(refusal.connack(Version::V3), [0x20, 2, 0, return_code], "{refusal:?}");
            assert_eq!(refusal.connack(Version::V5), [0x20, 3, 0, reason_code, 0], "{refusal:?}");
        }
    }
}
