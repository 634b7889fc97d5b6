use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// The fields of a packet to encode.
#[derive(Clone, Debug)]
struct Parts {
    name: Vec<u8>,
    level: u8,
    flags: u8,
    properties: Vec<u8>,
    client_id: Vec<u8>,
    will: Option<Will>,
    username: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Will {
    properties: Vec<u8>,
    topic: Vec<u8>,
    message: Vec<u8>,
}

const V3: u8 = 4;
const V5: u8 = 5;

/// A packet of this protocol level with all optional fields.
fn parts(level: u8) -> Parts {
    let will = Will { properties: Vec::new(), topic: b"gone".into(), message: b"\0\xff".into() };
    Parts {
        name: b"MQTT".into(),
        level,
        flags: 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80,
        properties: Vec::new(),
        client_id: b"device".into(),
        will: Some(will),
        username: Some("name é".into()),
        password: Some(b"\0\xff".into()),
    }
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

impl Parts {
    fn body(&self) -> Vec<u8> {
        let properties =
            |bytes: &[u8]| if self.level == V5 { [varint(bytes.len()), bytes.into()].concat() } else { Vec::new() };
        let mut body = [binary(&self.name), vec![self.level, self.flags, 0, 60]].concat();
        body.extend(properties(&self.properties));
        body.extend(binary(&self.client_id));
        if let Some(will) = &self.will {
            body.extend([properties(&will.properties), binary(&will.topic), binary(&will.message)].concat());
        }
        body.extend(self.username.iter().chain(&self.password).flat_map(|bytes| binary(bytes)));
        body
    }

    fn packet(&self) -> Vec<u8> {
        packet(&self.body())
    }
}

fn packet(body: &[u8]) -> Vec<u8> {
    [vec![0x10], varint(body.len()), body.into()].concat()
}

fn error(packet: &[u8]) -> Option<ConnectError> {
    Connect::decode(packet).err()
}

/// The error for a packet of this level after a change.
fn error_of(level: u8, change: impl FnOnce(&mut Parts)) -> Option<ConnectError> {
    let mut parts = parts(level);
    change(&mut parts);
    error(&parts.packet())
}

#[test]
fn decodes_client_id_username_and_password() {
    for (level, version) in [(V3, Version::V3), (V5, Version::V5)] {
        let packet = parts(level).packet();
        assert_eq!(packet_length(&packet, 1_000), Ok(Some(packet.len())));
        let client = Connect::decode(&packet).ok().unwrap();
        assert_eq!((client.version, client.client_id), (version, "device"));
        assert_eq!((client.username, client.password), (Some("name é"), Some(&b"\0\xff"[..])));
    }
}

#[test]
fn decodes_connect_with_only_mandatory_fields() {
    for level in [V3, V5] {
        let change = |parts: &mut Parts| {
            *parts =
                Parts { flags: 0, client_id: Vec::new(), will: None, username: None, password: None, ..parts.clone() };
        };
        let mut empty = parts(level);
        change(&mut empty);
        let packet = empty.packet();
        let client = Connect::decode(&packet).ok().unwrap();
        assert_eq!((client.client_id, client.username, client.password), ("", None, None));
    }
}

#[test]
fn password_without_username_requires_mqtt_5() {
    let change = |parts: &mut Parts| {
        parts.flags &= !0x80;
        parts.username = None;
    };
    assert_eq!(error_of(V3, change), Some(ConnectError::Malformed));
    assert_eq!(error_of(V5, change), None);
}

#[test]
fn unsupported_version_is_answered_in_a_version_the_client_understands() {
    for (level, version) in
        [(0, Version::V3), (3, Version::V3), (6, Version::V5), (0x7f, Version::V5), (0x84, Version::V3)]
    {
        let level_of = |parts: &mut Parts| parts.level = level;
        assert_eq!(error_of(V3, level_of), Some(ConnectError::UnsupportedVersion(version)), "{level}");
    }
    let of_3_1 = |parts: &mut Parts| (parts.name, parts.level) = (b"MQIsdp".into(), 3);
    assert_eq!(error_of(V3, of_3_1), Some(ConnectError::UnsupportedVersion(Version::V3)));
    for name in [&b""[..], b"mqtt", b"MQTT\0", b"HTTP"] {
        assert_eq!(error_of(V3, |parts| parts.name = name.into()), Some(ConnectError::NotConnect));
    }
}

#[test]
fn rejects_other_packets_by_their_first_byte() {
    for first in (0..=255).filter(|&first| first != 0x10) {
        assert_eq!(packet_length(&[first], 1_000), Err(ConnectError::NotConnect));
        assert_eq!(error(&[first, 0]), Some(ConnectError::NotConnect));
    }
}

#[test]
fn rejects_oversized_packets_by_their_header() {
    assert_eq!(packet_length(&[0x10, 0x7e], 128), Ok(Some(128)));
    assert_eq!(packet_length(&[0x10, 0x7f], 128), Err(ConnectError::TooLong));
    assert_eq!(packet_length(&[0x10, 0xff, 0xff, 0xff, 0x7f], 65_536), Err(ConnectError::TooLong));
    assert_eq!(packet_length(&[0x10, 0xff, 0xff, 0xff, 0xff], 65_536), Err(ConnectError::Malformed));
    assert_eq!(packet_length(&[0x10, 0x80, 0x00], 65_536), Err(ConnectError::Malformed));
}

#[test]
fn rejects_contradictory_flags() {
    for level in [V3, V5] {
        for flags in [0x01, 0x18 | 0x04] {
            assert_eq!(error_of(level, |parts| parts.flags |= flags), Some(ConnectError::Malformed), "{flags:#x}");
        }
        // Flags of a will in a packet without a will.
        for flags in [0x08, 0x10, 0x20] {
            let change = |parts: &mut Parts| {
                parts.will = None;
                parts.flags = 0xc0 | flags;
            };
            assert_eq!(error_of(level, change), Some(ConnectError::Malformed), "{flags:#x}");
        }
    }
}

#[test]
fn rejects_strings_that_are_not_utf8_or_contain_nul() {
    for bad in [&b"\xff"[..], b"a\0", b"\xed\xa0\x80", b"\xc0\x80"] {
        for level in [V3, V5] {
            assert_eq!(error_of(level, |parts| parts.client_id = bad.into()), Some(ConnectError::Malformed));
            assert_eq!(error_of(level, |parts| parts.username = Some(bad.into())), Some(ConnectError::Malformed));
            let topic = |parts: &mut Parts| parts.will.as_mut().unwrap().topic = bad.into();
            assert_eq!(error_of(level, topic), Some(ConnectError::Malformed));
        }
    }
}

#[test]
fn rejects_truncated_packets_and_trailing_bytes() {
    for level in [V3, V5] {
        let body = parts(level).body();
        for cut in 0..body.len() {
            assert!(error(&packet(&body[..cut])).is_some(), "cut at {cut}");
        }
        assert_eq!(error(&packet(&[&body[..], b"\0"].concat())), Some(ConnectError::Malformed));
        // Bytes after the packet.
        assert_eq!(error(&[&packet(&body)[..], b"\0"].concat()), Some(ConnectError::Malformed));
    }
}

#[test]
fn rejects_misplaced_repeated_and_malformed_properties() {
    const SESSION: &[u8] =
        b"\x11\0\0\0\x3c\x21\0\x0a\x27\0\0\x10\0\x22\0\x05\x19\x01\x17\0\x26\0\x01a\0\x01b\x26\0\x01a\0\x01b";
    const WILL: &[u8] = b"\x18\0\0\0\x3c\x01\x01\x02\0\0\0\x05\x03\0\x04text\x08\0\x02up\x09\0\x02\0\xff\x26\0\0\0\0";
    let of_session = |properties: &[u8]| error_of(V5, |parts| parts.properties = properties.into());
    let of_will = |properties: &[u8]| error_of(V5, |parts| parts.will.as_mut().unwrap().properties = properties.into());
    assert_eq!((of_session(SESSION), of_will(WILL)), (None, None));
    let malformed = Some(ConnectError::Malformed);
    assert_eq!((of_session(WILL), of_will(SESSION)), (malformed, malformed));
    for bad in [
        &b"\x11\0\0\0\x01\x11\0\0\0\x01"[..],
        b"\x11\0\0\0",
        b"\x21\0\0",
        b"\x27\0\0\0\0",
        b"\x17\x02",
        b"\x19\x02",
        b"\x16\0\x01x",
        b"\x26\0\x01a",
        b"\x26\0\x01\xff\0\x01b",
        b"\x00",
        b"\x12\0\x01x",
        b"\xff",
    ] {
        assert_eq!(of_session(bad), malformed, "{bad:x?}");
    }
    for bad in [&b"\x01\x02"[..], b"\x03\0\x01\xff", b"\x08\0\x01\0", b"\x15\0\x01x"] {
        assert_eq!(of_will(bad), malformed, "{bad:x?}");
    }
}

#[test]
fn rejects_enhanced_authentication() {
    for properties in [&b"\x15\0\x05SCRAM"[..], b"\x15\0\x05SCRAM\x16\0\x01x"] {
        assert_eq!(
            error_of(V5, |parts| parts.properties = properties.into()),
            Some(ConnectError::EnhancedAuthentication)
        );
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,20}"
}

prop_compose! {
    fn clients()(
        is_v5 in any::<bool>(),
        client_id in text(),
        will in option::of((text(), bytes(), 0_u8..3, any::<bool>())),
        username in option::of(text()),
        password in option::of(bytes()),
    ) -> Parts {
        let password = password.filter(|_| is_v5 || username.is_some());
        let mut flags = 0x02;
        flags |= will.as_ref().map_or(0, |(_, _, qos, retain)| 0x04 | qos << 3 | u8::from(*retain) << 5);
        flags |= if username.is_some() { 0x80 } else { 0 } | if password.is_some() { 0x40 } else { 0 };
        let will = will.map(|(topic, message, ..)| Will { properties: Vec::new(), topic: topic.into(), message });
        Parts {
            level: if is_v5 { V5 } else { V3 },
            flags,
            client_id: client_id.into(),
            will,
            username: username.map(String::into_bytes),
            password,
            ..parts(V3)
        }
    }
}

proptest! {
    #[test]
    fn decodes_what_was_encoded(parts in clients()) {
        let packet = parts.packet();
        let client = Connect::decode(&packet).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert_eq!(client.client_id.as_bytes(), &parts.client_id[..]);
        prop_assert_eq!(client.username.map(str::as_bytes), parts.username.as_deref());
        prop_assert!(client.password == parts.password.as_deref());
    }

    /// The length is unknown until the start of the packet has arrived, and does not change after that.
    #[test]
    fn packet_length_does_not_depend_on_fragmentation(parts in clients(), behind in bytes(), piece in 1_usize..9) {
        let packet = parts.packet();
        let stream = [&packet[..], &behind].concat();
        let mut lengths = Vec::new();
        for arrived in (0..stream.len()).step_by(piece).chain([stream.len()]) {
            let start = &stream[..arrived.min(MAX_FIXED_HEADER_BYTES)];
            match packet_length(start, 65_536).expect("a valid length") {
                None => prop_assert!(lengths.is_empty()),
                Some(length) => lengths.push(length),
            }
        }
        prop_assert!(lengths.iter().all(|&length| length == packet.len()) && !lengths.is_empty());
    }

    #[test]
    fn parser_survives_random_bytes(bytes in vec(any::<u8>(), 0..200), max in 0_usize..300) {
        if let Ok(Some(length)) = packet_length(&bytes, max) {
            prop_assert!(length <= max);
        }
        let _ = Connect::decode(&bytes);
        let _ = Connect::decode(&packet(&bytes));
    }

    /// Packets with one wrong byte reach parts of the parser that random bytes do not.
    #[test]
    fn parser_survives_mutated_packets(
        parts in clients(),
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        properties in bytes(),
    ) {
        let mut packet = Parts { properties, ..parts }.packet();
        let position = position.index(packet.len());
        packet[position] = byte;
        let _ = packet_length(&packet, 65_536);
        if let Ok(client) = Connect::decode(&packet) {
            prop_assert!(!client.client_id.contains('\0'));
        }
    }
}
