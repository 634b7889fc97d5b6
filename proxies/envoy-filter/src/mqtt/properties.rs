//! Validation of MQTT 5 properties (MQTT 5.0, section 2.2.2). Their values are skipped.

use super::packet::{DecodeError, Reader};

/// A part of the packet that has properties. Each part allows different ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Location {
    /// The header of CONNECT.
    Connect,
    /// The will.
    Will,
}

/// The relevant facts about the properties.
#[derive(Default)]
pub(crate) struct Properties {
    /// Whether the client requests enhanced authentication, which needs more packets than CONNECT.
    pub(crate) has_authentication_method: bool,
}

/// The only property that may occur more than once.
const USER_PROPERTY: u8 = 0x26;
const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;

/// Decodes the properties at a location.
///
/// # Errors
/// Fails if a property is not allowed there, occurs twice or is malformed.
pub(crate) fn decode(reader: &mut Reader, location: Location) -> Result<Properties, DecodeError> {
    let length = reader.read_varint()?;
    let mut properties = Reader(reader.read_bytes(length)?);
    // One bit per identifier: all are below 64.
    let mut seen = 0_u64;
    while !properties.is_empty() {
        let identifier = properties.read_u8()?;
        let bit = 1_u64.checked_shl(identifier.into()).ok_or(DecodeError)?;
        if identifier != USER_PROPERTY && seen & bit != 0 {
            return Err(DecodeError);
        }
        seen |= bit;
        skip_value(&mut properties, location, identifier)?;
    }
    let has = |identifier: u8| seen & (1 << identifier) != 0;
    if has(AUTHENTICATION_DATA) && !has(AUTHENTICATION_METHOD) {
        return Err(DecodeError);
    }
    Ok(Properties { has_authentication_method: has(AUTHENTICATION_METHOD) })
}

/// Validates and skips the value of a property.
fn skip_value(properties: &mut Reader, location: Location, identifier: u8) -> Result<(), DecodeError> {
    use Location::{Connect, Will};
    let is_valid = match (location, identifier) {
        // Session expiry interval. Will: message expiry interval, will delay interval.
        (Connect, 0x11) | (Will, 0x02 | 0x18) => properties.read_u32().map(|_| true),
        // Maximum packet size.
        (Connect, 0x27) => properties.read_u32().map(|size| size > 0),
        // Receive maximum.
        (Connect, 0x21) => properties.read_u16().map(|count| count > 0),
        // Topic alias maximum.
        (Connect, 0x22) => properties.read_u16().map(|_| true),
        // Request problem information, request response information. Will: payload format indicator.
        (Connect, 0x17 | 0x19) | (Will, 0x01) => properties.read_u8().map(|flag| flag <= 1),
        // Will: content type, response topic.
        (Connect, AUTHENTICATION_METHOD) | (Will, 0x03 | 0x08) => properties.read_string().map(|_| true),
        // Will: correlation data.
        (Connect, AUTHENTICATION_DATA) | (Will, 0x09) => properties.read_binary().map(|_| true),
        (_, USER_PROPERTY) => properties.read_string().and_then(|_| properties.read_string()).map(|_| true),
        _ => Err(DecodeError),
    };
    if is_valid? { Ok(()) } else { Err(DecodeError) }
}
