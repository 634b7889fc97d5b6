//! MQTT byte by byte, for clients that do not behave.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::child::PATIENCE;
use crate::support::device::Device;

/// The levels of MQTT 3.1.1 and MQTT 5.
pub(crate) const V3: u8 = 4;
pub(crate) const V5: u8 = 5;

pub(crate) const PING: &[u8] = &[0xc0, 0];
pub(crate) const PONG: &[u8] = &[0xd0, 0];

/// The CONNECT of a device.
pub(crate) fn connect(device: &Device, level: u8) -> Vec<u8> {
    connect_as(
        b"MQTT",
        level,
        0xc2,
        &[],
        &[&device.client_id, &device.username, &device.password].map(String::as_bytes),
    )
}

/// A CONNECT of these parts. MQTT 5 has properties.
pub(crate) fn connect_as(name: &[u8], level: u8, flags: u8, properties: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    let mut body = [&text(name)[..], &[level, flags, 0, 60]].concat();
    if level == V5 {
        body.extend(number(properties.len()));
        body.extend(properties);
    }
    body.extend(payload.iter().flat_map(|part| text(part)));
    packet(0x10, &body)
}

/// A message that is not acknowledged.
pub(crate) fn publish(topic: &str, message: &[u8]) -> Vec<u8> {
    packet(0x30, &[&text(topic.as_bytes())[..], message].concat())
}

pub(crate) fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &number(body.len()), body].concat()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn number(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// One connection.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Sends, unless the other side has ended the connection.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.0.write_all(bytes)).await.expect("the end of the connection, or room");
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// The next bytes, as many.
    pub(crate) async fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = timeout(PATIENCE, self.0.read_exact(&mut bytes)).await.expect("an answer");
        read.expect("an answer and not the end of the connection");
        bytes
    }

    /// Everything until the other side ends the connection.
    pub(crate) async fn until_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // It may end with what was sent to it unread.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.expect("the end of the connection");
        bytes
    }
}
