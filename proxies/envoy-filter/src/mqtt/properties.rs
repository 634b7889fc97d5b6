//! The properties of MQTT 5, as far as one must read them to get past them.

use super::packet::{DecodeError, Reader};

/// Where properties stand. Each location has its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Location {
    /// In the head of a CONNECT.
    Connect,
    /// Before the topic of its will.
    Will,
}

/// What they say that matters here.
#[derive(Default)]
pub(crate) struct Properties {
    /// A method of authentication that takes more packets than CONNECT.
    pub(crate) has_authentication_method: bool,
}

/// A property that may stand there any number of times.
const USER_PROPERTY: u8 = 0x26;
const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;

/// Reads the properties of a location. There are none that do not belong there, and none twice.
pub(crate) fn decode(reader: &mut Reader, location: Location) -> Result<Properties, DecodeError> {
    let length = reader.read_varint()?;
    let mut properties = Reader(reader.read_bytes(length)?);
    // Every identifier is below 64.
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

/// Gets past the value of a property.
fn skip_value(properties: &mut Reader, location: Location, identifier: u8) -> Result<(), DecodeError> {
    use Location::{Connect, Will};
    let is_valid = match (location, identifier) {
        // Of a session: its expiry. Of a will: the expiry of the message, the delay.
        (Connect, 0x11) | (Will, 0x02 | 0x18) => properties.read_u32().map(|_| true),
        // The largest packet.
        (Connect, 0x27) => properties.read_u32().map(|size| size > 0),
        // How many messages at once.
        (Connect, 0x21) => properties.read_u16().map(|count| count > 0),
        // How many aliases of topics.
        (Connect, 0x22) => properties.read_u16().map(|_| true),
        // Whether to say more in answers. Of a will: whether it is text.
        (Connect, 0x17 | 0x19) | (Will, 0x01) => properties.read_u8().map(|flag| flag <= 1),
        // Of a will: what kind of content, and where to answer.
        (Connect, AUTHENTICATION_METHOD) | (Will, 0x03 | 0x08) => properties.read_string().map(|_| true),
        // Of a will: what the answer belongs to.
        (Connect, AUTHENTICATION_DATA) | (Will, 0x09) => properties.read_binary().map(|_| true),
        (_, USER_PROPERTY) => properties.read_string().and_then(|_| properties.read_string()).map(|_| true),
        _ => Err(DecodeError),
    };
    if is_valid? { Ok(()) } else { Err(DecodeError) }
}
