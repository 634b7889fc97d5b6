//! The filter's parser of CONNECT packets against that of an MQTT library. Where both accept a packet, they must read the
//! same client.

#![no_main]

use bytes::BytesMut;
use envoy_filter::mqtt::connect::{Connect, Version, packet_length};
use libfuzzer_sys::fuzz_target;
use mqttbytes::{v4, v5};

const MAX_PACKET: usize = 64 << 10;

/// Client id, user name and password.
type Client = (String, String, Vec<u8>);

fn by_library(version: Version, packet: &[u8]) -> Option<Client> {
    let mut bytes = BytesMut::from(packet);
    match version {
        Version::V3 => match v4::read(&mut bytes, MAX_PACKET) {
            Ok(v4::Packet::Connect(connect)) => {
                let login = connect.login.unwrap_or(v4::Login { username: String::new(), password: String::new() });
                Some((connect.client_id, login.username, login.password.into_bytes()))
            }
            _ => None,
        },
        Version::V5 => match v5::read(&mut bytes, MAX_PACKET) {
            Ok(v5::Packet::Connect(connect)) => {
                let login = connect.login.unwrap_or(v5::Login { username: String::new(), password: String::new() });
                Some((connect.client_id, login.username, login.password.into_bytes()))
            }
            _ => None,
        },
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(length)) = packet_length(bytes, MAX_PACKET) else { return };
    assert!(length <= MAX_PACKET);
    let Some(packet) = bytes.get(..length) else { return };
    let Ok(connect) = Connect::decode(packet) else { return };
    let credentials = connect.credentials();
    if let Some((client_id, username, password)) = by_library(connect.version, packet) {
        assert_eq!(credentials.client_id, client_id);
        assert_eq!(credentials.username.unwrap_or_default(), username);
        assert_eq!(credentials.password.unwrap_or_default(), password);
    }
});
