//! Protocols that are not HTTP/1.1, recognised by their first bytes.

/// A protocol that a client speaks on the port for HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignProtocol {
    /// TLS, and so HTTPS.
    Tls,
    /// HTTP/2 without TLS.
    Http2,
    /// MQTT: a device or a bridge took the port for the broker's.
    Mqtt,
    /// The PROXY protocol of a load balancer.
    Proxy,
}

impl ForeignProtocol {
    /// Recognises a protocol by the first bytes of a connection.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        // The first record of a handshake (RFC 8446, section 5.1). The last byte, the minor version, varies.
        let tls: &[u8] = &[0x16, 0x03];
        // CONNECT (MQTT 5.0, section 3.1).
        let mqtt: &[u8] = &[0x10];
        let preface: &[u8] = b"PRI * HTTP/2.0";
        let proxy_1: &[u8] = b"PROXY ";
        let proxy_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
        [(tls, Self::Tls), (mqtt, Self::Mqtt), (preface, Self::Http2), (proxy_1, Self::Proxy), (proxy_2, Self::Proxy)]
            .into_iter()
            .find_map(|(start, protocol)| bytes.starts_with(start).then_some(protocol))
    }

    /// The name of the protocol.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Http2 => "HTTP/2",
            Self::Mqtt => "MQTT",
            Self::Proxy => "the PROXY protocol",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_recognised_by_their_first_bytes() {
        for (bytes, protocol) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], Some(ForeignProtocol::Tls)),
            (b"\x10\x10\x00\x04MQTT", Some(ForeignProtocol::Mqtt)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(ForeignProtocol::Http2)),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Some(ForeignProtocol::Proxy)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Some(ForeignProtocol::Proxy)),
            (b"POST /emqx/auth HTTP/1.1\r\n", None),
            (b"\x16", None),
            (b"", None),
        ] {
            assert_eq!(ForeignProtocol::of(bytes), protocol, "{bytes:?}");
        }
    }
}
