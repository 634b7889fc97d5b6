//! The properties of MQTT 5, as far as one must read them to get past them.

use super::packet::{Misshapen, Rest};

/// Where properties stand. Each place has its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the head of a CONNECT.
    Connect,
    /// Before the topic of its will.
    Will,
}

/// What they say that matters here.
#[derive(Default)]
pub(crate) struct Properties {
    /// A method of authentication that takes more packets than CONNECT.
    pub(crate) has_method: bool,
}

/// A property that may stand there any number of times.
const USER_PROPERTY: u8 = 0x26;
const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;

/// Reads the properties of a place. There are none that do not belong there, and none twice.
pub(crate) fn read(rest: &mut Rest, place: Place) -> Result<Properties, Misshapen> {
    let length = rest.variable()?;
    let mut properties = Rest(rest.take(length)?);
    // Every identifier is below 64.
    let mut seen = 0_u64;
    while !properties.is_empty() {
        let identifier = properties.byte()?;
        let bit = 1_u64.checked_shl(identifier.into()).ok_or(Misshapen)?;
        if identifier != USER_PROPERTY && seen & bit != 0 {
            return Err(Misshapen);
        }
        seen |= bit;
        skip(&mut properties, place, identifier)?;
    }
    let has = |identifier: u8| seen & (1 << identifier) != 0;
    if has(AUTHENTICATION_DATA) && !has(AUTHENTICATION_METHOD) {
        return Err(Misshapen);
    }
    Ok(Properties { has_method: has(AUTHENTICATION_METHOD) })
}

/// Gets past the value of a property.
fn skip(properties: &mut Rest, place: Place, identifier: u8) -> Result<(), Misshapen> {
    use Place::{Connect, Will};
    let is_good = match (place, identifier) {
        // Of a session: its expiry. Of a will: the expiry of the message, the delay.
        (Connect, 0x11) | (Will, 0x02 | 0x18) => properties.four_bytes().map(|_| true),
        // The largest packet.
        (Connect, 0x27) => properties.four_bytes().map(|size| size > 0),
        // How many messages at once.
        (Connect, 0x21) => properties.two_bytes().map(|count| count > 0),
        // How many aliases of topics.
        (Connect, 0x22) => properties.two_bytes().map(|_| true),
        // Whether to say more in answers. Of a will: whether it is text.
        (Connect, 0x17 | 0x19) | (Will, 0x01) => properties.byte().map(|flag| flag <= 1),
        // Of a will: what kind of content, and where to answer.
        (Connect, AUTHENTICATION_METHOD) | (Will, 0x03 | 0x08) => properties.text().map(|_| true),
        // Of a will: what the answer belongs to.
        (Connect, AUTHENTICATION_DATA) | (Will, 0x09) => properties.data().map(|_| true),
        (_, USER_PROPERTY) => properties.text().and_then(|_| properties.text()).map(|_| true),
        _ => Err(Misshapen),
    };
    if is_good? { Ok(()) } else { Err(Misshapen) }
}
