//! The CONNECT packet of MQTT 3.1.1 and 5: who wants in.
//!
//! First its [`length`], which the packet declares at its front, and once that much is there, the [`Connect`] itself, in
//! one pass. So it makes no difference in which pieces it arrives, and each byte is looked at once.

use auth_core::Credentials;

use super::packet::{self, Misshapen, Rest};
use super::properties::{self, Place, Properties};

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
pub enum Problem {
    /// It is not a CONNECT at all, of whatever protocol.
    NotConnect,
    /// The packet says that it is longer than the gate takes.
    TooLong,
    /// It is not what a CONNECT should be.
    Malformed,
    /// A version that is not let in; a client of it understands answers of this one.
    Version(Version),
    /// It wants to prove who it is by more packets than CONNECT: SCRAM, Kerberos, …
    Authentication,
}

impl From<Misshapen> for Problem {
    fn from(_: Misshapen) -> Self {
        Self::Malformed
    }
}

/// The most bytes in front of a packet by which its length is known.
pub const LONGEST_START: usize = 5;

/// The first byte of a CONNECT: its kind, and flags that are all 0.
const CONNECT: u8 = 0x10;

/// How long the packet is that starts so; `None` if that is not known yet.
///
/// # Errors
/// It is no CONNECT, or longer than `most`.
pub fn length(start: &[u8], most: usize) -> Result<Option<usize>, Problem> {
    let Some((&kind, rest)) = start.split_first() else { return Ok(None) };
    if kind != CONNECT {
        return Err(Problem::NotConnect);
    }
    let Some((remaining, digits)) = packet::variable(rest)? else { return Ok(None) };
    let length = 1 + digits + remaining;
    if length > most { Err(Problem::TooLong) } else { Ok(Some(length)) }
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
    pub fn read(packet: &'a [u8]) -> Result<Self, Problem> {
        let mut rest = Rest(packet);
        if rest.byte()? != CONNECT {
            return Err(Problem::NotConnect);
        }
        if rest.variable()? != rest.0.len() {
            return Err(Problem::Malformed);
        }
        let version = read_version(&mut rest)?;
        let flags = Flags::read(rest.byte()?, version)?;
        // How often it will at least be heard of.
        rest.two_bytes()?;
        if read_properties(&mut rest, version, Place::Connect)?.has_method {
            return Err(Problem::Authentication);
        }
        let connect = Self::read_payload(&mut rest, version, flags)?;
        if rest.is_empty() { Ok(connect) } else { Err(Problem::Malformed) }
    }

    fn read_payload(rest: &mut Rest<'a>, version: Version, flags: Flags) -> Result<Self, Misshapen> {
        let client_id = rest.text()?;
        if flags.will {
            read_properties(rest, version, Place::Will)?;
            rest.text()?;
            rest.data()?;
        }
        let username = flags.username.then(|| rest.text()).transpose()?;
        let password = flags.password.then(|| rest.data()).transpose()?;
        Ok(Self { version, client_id, username, password })
    }
}

/// The name of the protocol and its level. MQTT 3.1 has another name, and is not let in.
fn read_version(rest: &mut Rest) -> Result<Version, Problem> {
    match (rest.data()?, rest.byte()?) {
        (b"MQTT", 4) => Ok(Version::V3),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", 6..0x80) => Err(Problem::Version(Version::V5)),
        // Bridges of mosquitto set the highest bit at first, and do without when they are told so.
        (b"MQTT" | b"MQIsdp", _) => Err(Problem::Version(Version::V3)),
        _ => Err(Problem::NotConnect),
    }
}

fn read_properties(rest: &mut Rest, version: Version, place: Place) -> Result<Properties, Misshapen> {
    match version {
        Version::V3 => Ok(Properties::default()),
        Version::V5 => properties::read(rest, place),
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
    fn read(flags: u8, version: Version) -> Result<Self, Misshapen> {
        let has = |bit: u8| flags & bit != 0;
        let (will, retain, username, password) = (has(0x04), has(0x20), has(0x80), has(0x40));
        let quality = flags >> 3 & 3;
        let is_reserved = has(0x01);
        let is_will_good = if will { quality < 3 } else { quality == 0 && !retain };
        let is_password_good = username || !password || version == Version::V5;
        if is_reserved || !is_will_good || !is_password_good {
            return Err(Misshapen);
        }
        Ok(Self { will, username, password })
    }
}

#[cfg(test)]
mod tests;
