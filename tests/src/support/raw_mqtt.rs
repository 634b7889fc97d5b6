//! MQTT packets as bytes, for clients that break the protocol.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::device::Device;
use crate::support::within_timeout;

/// Protocol levels of MQTT 3.1.1 and MQTT 5.
pub(crate) const V3: u8 = 4;
pub(crate) const V5: u8 = 5;

pub(crate) const PING: &[u8] = &[0xc0, 0];
pub(crate) const PONG: &[u8] = &[0xd0, 0];

/// The CONNECT of a device.
pub(crate) fn connect(device: &Device, level: u8) -> Vec<u8> {
    connect_with(
        b"MQTT",
        level,
        0xc2,
        &[],
        &[&device.client_id, &device.username, &device.password].map(String::as_bytes),
    )
}

/// A CONNECT packet of these parts. `properties` is written for MQTT 5 only.
pub(crate) fn connect_with(name: &[u8], level: u8, flags: u8, properties: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    let mut body = [&text(name)[..], &[level, flags, 0, 60]].concat();
    if level == V5 {
        body.extend(variable_length(properties.len()));
        body.extend(properties);
    }
    body.extend(payload.iter().flat_map(|part| text(part)));
    packet(0x10, &body)
}

/// A PUBLISH of QoS 0.
pub(crate) fn publish(topic: &str, message: &[u8]) -> Vec<u8> {
    packet(0x30, &[&text(topic.as_bytes())[..], message].concat())
}

pub(crate) fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &variable_length(body.len()), body].concat()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn variable_length(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// A connection to a broker.
pub(crate) struct RawClient(TcpStream);

impl RawClient {
    pub(crate) async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Sends, and ignores a connection that the other side has closed.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = within_timeout("room to send, or the connection to close", self.0.write_all(bytes)).await;
    }

    /// Closes the sending half.
    pub(crate) async fn shutdown_write(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// Receives exactly `length` bytes.
    pub(crate) async fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = within_timeout("a response", self.0.read_exact(&mut bytes)).await;
        read.expect("a response before the connection closes");
        bytes
    }

    /// Receives everything until the other side closes the connection.
    pub(crate) async fn read_to_close(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // The connection may be reset if data was left unread.
        let _ = within_timeout("the connection to close", self.0.read_to_end(&mut bytes)).await;
        bytes
    }
}
