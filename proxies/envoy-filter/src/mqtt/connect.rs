//! The CONNECT packet of MQTT 3.1.1 and MQTT 5.
//!
//! [`packet_length`] reads the length from the start of the packet. When that many bytes have arrived,
//! [`Connect::decode`] decodes them in one pass. So the result does not depend on how TCP splits the packet, and each byte
//! is decoded once.

use auth_core::Credentials;

use super::packet::{self, DecodeError, Reader};
use super::properties::{self, Location, Properties};

/// A decoded CONNECT packet. Its content is not verified.
///
/// It has no `Debug`, because it contains a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The protocol version of the client.
    pub version: Version,
    /// The client identifier. May be empty.
    pub client_id: &'a str,
    /// The user name, if the client sent one.
    pub username: Option<&'a str>,
    /// The password, if the client sent one.
    pub password: Option<&'a [u8]>,
}

/// The supported protocol versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.
    V5,
}

/// The reason why a CONNECT packet cannot be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Not a CONNECT packet, or not MQTT.
    NotConnect,
    /// Longer than the limit.
    TooLong,
    /// A malformed CONNECT packet.
    Malformed,
    /// An unsupported protocol version. A client of that version understands a CONNACK of the version given here.
    UnsupportedVersion(Version),
    /// Enhanced authentication, such as SCRAM or Kerberos, which needs more packets than CONNECT.
    EnhancedAuthentication,
}

impl From<DecodeError> for ConnectError {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

/// Maximum number of bytes needed to know the length of a packet: its type, and four bytes of length.
pub const MAX_FIXED_HEADER_BYTES: usize = 5;

/// The first byte of a CONNECT packet: its type, and flags that are all 0.
const CONNECT_TYPE: u8 = 0x10;

/// Returns the length of the packet with this start; `None` if more bytes are needed.
///
/// # Errors
/// Fails if it is not a CONNECT packet, or longer than `max`.
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
    /// The credentials, for the policy.
    #[must_use]
    pub fn credentials(&self) -> Credentials<'a> {
        let Self { client_id, username, password, .. } = *self;
        Credentials { client_id, username, password }
    }

    /// Decodes a complete packet.
    ///
    /// # Errors
    /// Fails if the packet is malformed, or its version or kind of authentication is not supported.
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
        // Keep alive.
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

/// Decodes protocol name and level. MQTT 3.1 has another name, `MQIsdp`, and is not supported.
fn decode_version(reader: &mut Reader) -> Result<Version, ConnectError> {
    match (reader.read_binary()?, reader.read_u8()?) {
        (b"MQTT", 4) => Ok(Version::V3),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", 6..0x80) => Err(ConnectError::UnsupportedVersion(Version::V5)),
        // Bridges of mosquitto set the highest bit in their first attempt, and clear it after this error.
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

/// The connect flags: which fields the payload contains.
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
