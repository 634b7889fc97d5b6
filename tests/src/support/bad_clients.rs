//! Who is not let in: clients with credentials that are no good, and what is no client at all.

use crate::support::device::Device;
use crate::support::raw_mqtt::{PING, V3, V5, connect, connect_as, packet, publish};

/// Who is refused, and with which codes of MQTT 3.1.1 and 5.
pub(crate) fn strangers() -> Vec<(Device, u8, u8)> {
    let good = Device::genuine();
    vec![
        (Device { password: "A".repeat(43) + "=", ..good.clone() }, 4, 0x86),
        (Device { password: String::new(), ..good.clone() }, 4, 0x86),
        (Device { username: "no user name".into(), ..good.clone() }, 4, 0x86),
        (Device::signed_with("another key than that of the gate"), 4, 0x86),
        (Device { client_id: "somebody".into(), ..good.clone() }, 5, 0x85),
        (Device { client_id: String::new(), ..good }, 5, 0x85),
        (Device::genuine_with_id("GID_other@@@AA_BB_CC_DD_EE_FF@@@1"), 5, 0x85),
    ]
}

pub(crate) fn refusal(level: u8, codes: (u8, u8)) -> Vec<u8> {
    if level == V5 { vec![0x20, 3, 0, codes.1, 0] } else { vec![0x20, 2, 0, codes.0] }
}

/// What is answered with the end of the connection, and nothing else.
pub(crate) fn no_connects() -> Vec<Vec<u8>> {
    let device = Device::genuine();
    let good = connect(&device, V3);
    let payload = [&device.client_id, &device.username, &device.password].map(String::as_bytes);
    let with = |level: u8, flags: u8, properties: &[u8], payload: &[&[u8]]| {
        connect_as(b"MQTT", level, flags, properties, payload)
    };
    vec![
        b"GET / HTTP/1.1\r\nhost: broker\r\n\r\n".into(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".into(),
        b"\0".into(),
        PING.into(),
        [PING, &good].concat(),
        publish("up", b"x"),
        packet(0x20, &[0, 0]),
        [&[0x11][..], &good[1..]].concat(),
        packet(0x10, b""),
        packet(0x10, &good[2..good.len() - 1]),
        packet(0x10, &[&good[2..], b"\0"].concat()),
        connect_as(b"mqtt", V3, 0xc2, &[], &payload),
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
        // Longer than the gate takes: 65,537 bytes, and as many as can be said.
        b"\x10\xfd\xff\x03".into(),
        b"\x10\xff\xff\xff\x7f".into(),
        b"\x10\xff\xff\xff\xff".into(),
        b"\x10\x80\0".into(),
    ]
}
