//! The CONNECT packet of MQTT 3.1.1 and 5: who wants in.
//!
//! First its [`length`], which the packet declares at its front, and once that much is there, the [`Connect`] itself, in
//! one pass. So it makes no difference in which pieces it arrives, and each byte is looked at once.

use auth_core::Credentials;

use super::packet::{self, DecodeError, Reader};
use super::properties::{self, Location, Properties};

/// What a client sent to be let in. Nothing in it has been verified.
///
/// It has no `Debug`: it holds a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version that it speaks.
    pub version: Version,
    /// The client identifier. May be empty.
    pub client_id: &'a str,
    /// The user name, if there is one.
    pub username: Option<&'a str>,
    /// The password, if there is one.
    pub password: Option<&'a [u8]>,
}

/// The versions of MQTT whose clients are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.
    V5,
}

/// Why something is no CONNECT that could be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// It is not a CONNECT at all, of whatever protocol.
    NotConnect,
    /// The packet says that it is longer than the gate takes.
    TooLong,
    /// It is not what a CONNECT should be.
    Malformed,
    /// A version that is not let in; a client of it understands answers of this one.
    UnsupportedVersion(Version),
    /// It wants to prove who it is by more packets than CONNECT: SCRAM, Kerberos, …
    EnhancedAuthentication,
}

impl From<DecodeError> for ConnectError {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

/// The most bytes in front of a packet by which its length is known.
pub const MAX_FIXED_HEADER_BYTES: usize = 5;

/// The first byte of a CONNECT: its kind, and flags that are all 0.
const CONNECT_TYPE: u8 = 0x10;

/// How long the packet is that starts so; `None` if that is not known yet.
///
/// # Errors
/// It is no CONNECT, or longer than `max`.
pub fn packet_length(start: &[u8], max: usize) -> Result<Option<usize>, ConnectError> {
    let Some((&kind, reader)) = start.split_first() else { return Ok(None) };
    if kind != CONNECT_TYPE {
        return Err(ConnectError::NotConnect);
    }
    let Some((remaining, digits)) = packet::varint(reader)? else { return Ok(None) };
    let length = 1 + digits + remaining;
    if length > max { Err(ConnectError::TooLong) } else { Ok(Some(length)) }
}

impl<'a> Connect<'a> {
    /// The part that the policy is asked about.
    #[must_use]
    pub fn credentials(&self) -> Credentials<'a> {
        let Self { client_id, username, password, .. } = *self;
        Credentials { client_id, username, password }
    }

    /// Reads a whole packet, of the length that it declares.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(packet: &'a [u8]) -> Result<Self, ConnectError> {
        let mut reader = Reader(packet);
        if reader.read_u8()? != CONNECT_TYPE {
            return Err(ConnectError::NotConnect);
        }
        if reader.read_varint()? != reader.0.len() {
            return Err(ConnectError::Malformed);
        }
        let version = decode_version(&mut reader)?;
        let flags = Flags::decode(reader.read_u8()?, version)?;
        // How often it will at least be heard of.
        reader.read_u16()?;
        if decode_properties(&mut reader, version, Location::Connect)?.has_authentication_method {
            return Err(ConnectError::EnhancedAuthentication);
        }
        let connect = Self::decode_payload(&mut reader, version, flags)?;
        if reader.is_empty() { Ok(connect) } else { Err(ConnectError::Malformed) }
    }

    fn decode_payload(reader: &mut Reader<'a>, version: Version, flags: Flags) -> Result<Self, DecodeError> {
        let client_id = reader.read_string()?;
        if flags.will {
            decode_properties(reader, version, Location::Will)?;
            reader.read_string()?;
            reader.read_binary()?;
        }
        let username = flags.username.then(|| reader.read_string()).transpose()?;
        let password = flags.password.then(|| reader.read_binary()).transpose()?;
        Ok(Self { version, client_id, username, password })
    }
}

/// The name of the protocol and its level. MQTT 3.1 has another name, and is not let in.
fn decode_version(reader: &mut Reader) -> Result<Version, ConnectError> {
    match (reader.read_binary()?, reader.read_u8()?) {
        (b"MQTT", 4) => Ok(Version::V3),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", 6..0x80) => Err(ConnectError::UnsupportedVersion(Version::V5)),
        // Bridges of mosquitto set the highest bit at first, and do without when they are told so.
        (b"MQTT" | b"MQIsdp", _) => Err(ConnectError::UnsupportedVersion(Version::V3)),
        _ => Err(ConnectError::NotConnect),
    }
}

fn decode_properties(reader: &mut Reader, version: Version, place: Location) -> Result<Properties, DecodeError> {
    match version {
        Version::V3 => Ok(Properties::default()),
        Version::V5 => properties::decode(reader, place),
    }
}

/// What there is in the payload.
#[derive(Clone, Copy)]
struct Flags {
    will: bool,
    username: bool,
    password: bool,
}

impl Flags {
    fn decode(flags: u8, version: Version) -> Result<Self, DecodeError> {
        let has = |bit: u8| flags & bit != 0;
        let (will, retain, username, password) = (has(0x04), has(0x20), has(0x80), has(0x40));
        let qos = flags >> 3 & 3;
        let is_reserved = has(0x01);
        let is_will_valid = if will { qos < 3 } else { qos == 0 && !retain };
        let is_password_valid = username || !password || version == Version::V5;
        if is_reserved || !is_will_valid || !is_password_valid {
            return Err(DecodeError);
        }
        Ok(Self { will, username, password })
    }
}

#[cfg(test)]
mod tests;
