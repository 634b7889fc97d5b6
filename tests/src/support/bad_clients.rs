//! MQTT clients that must not reach a broker: with invalid credentials, and with bytes that are not a CONNECT.

use crate::support::device::Device;
use crate::support::raw_mqtt::{PING, V3, V5, connect, connect_with, packet, publish};

/// Clients with invalid credentials, each with the reason codes of MQTT 3.1.1 and MQTT 5 that it is rejected with.
pub(crate) fn rejected_clients() -> Vec<(Device, u8, u8)> {
    let valid = Device::valid();
    vec![
        (Device::forged(), 4, 0x86),
        (Device { password: String::new(), ..valid.clone() }, 4, 0x86),
        (Device { username: "no user name".into(), ..valid.clone() }, 4, 0x86),
        (Device::signed_with("another key than that of the gate"), 4, 0x86),
        (Device { client_id: "intruder".into(), ..valid.clone() }, 5, 0x85),
        (Device { client_id: String::new(), ..valid }, 5, 0x85),
        (Device::valid_with_id("GID_other@@@AA_BB_CC_DD_EE_FF@@@1"), 5, 0x85),
    ]
}

/// The CONNACK that rejects a client of this protocol level.
pub(crate) fn rejecting_connack(level: u8, codes: (u8, u8)) -> Vec<u8> {
    if level == V5 { vec![0x20, 3, 0, codes.1, 0] } else { vec![0x20, 2, 0, codes.0] }
}

/// Bytes that are not a valid CONNECT: the connection is closed without a response.
pub(crate) fn invalid_connects() -> Vec<Vec<u8>> {
    let device = Device::valid();
    let valid = connect(&device, V3);
    let payload = [&device.client_id, &device.username, &device.password].map(String::as_bytes);
    let with = |level: u8, flags: u8, properties: &[u8], payload: &[&[u8]]| {
        connect_with(b"MQTT", level, flags, properties, payload)
    };
    vec![
        b"GET / HTTP/1.1\r\nhost: broker\r\n\r\n".into(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".into(),
        b"\0".into(),
        PING.into(),
        [PING, &valid].concat(),
        publish("up", b"x"),
        packet(0x20, &[0, 0]),
        [&[0x11][..], &valid[1..]].concat(),
        packet(0x10, b""),
        packet(0x10, &valid[2..valid.len() - 1]),
        packet(0x10, &[&valid[2..], b"\0"].concat()),
        connect_with(b"mqtt", V3, 0xc2, &[], &payload),
        with(V3, 0xc3, &[], &payload),
        with(V3, 0x42, &[], &[payload[0], payload[2]]),
        with(V3, 0xc2, &[], &[b"\xff", payload[1], payload[2]]),
        with(V3, 0xc2, &[], &[b"a\0b", payload[1], payload[2]]),
        with(V3, 0xc2, &[], &[payload[0], b"\xed\xa0\x80", payload[2]]),
        with(V3, 0xda, &[], &payload),
        with(V3, 0xde, &[], &[payload[0], b"will", b"", payload[1], payload[2]]),
        with(V5, 0xc2, b"\x21\0\0", &payload),
        with(V5, 0xc2, b"\xff", &payload),
        with(V5, 0xc2, &b"\x11\0\0\0\x01".repeat(2), &payload),
        // Longer than the limit: 65,537 bytes, and the longest length that MQTT can express.
        b"\x10\xfd\xff\x03".into(),
        b"\x10\xff\xff\xff\x7f".into(),
        b"\x10\xff\xff\xff\xff".into(),
        b"\x10\x80\0".into(),
    ]
}
