//! The edits of responses in the output buffer: they change nothing but what they are for.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

#[path = "../../host/src/net/http1_patch.rs"]
mod http1_patch;

use http1_patch::{insert_connection_close, replace_parse_error};

const CLOSE: &[u8] = b"connection: close\r\n";

fuzz_target!(|input: (u16, &[u8])| {
    let (at, bytes) = (usize::from(input.0), input.1);

    let mut buffer = BytesMut::from(bytes);
    if insert_connection_close(&mut buffer, at) {
        let head = bytes[at..].windows(2).position(|pair| pair == b"\r\n").expect("a status line") + at + 2;
        assert_eq!(buffer, [&bytes[..head], CLOSE, &bytes[head..]].concat());
    } else {
        assert_eq!(buffer, bytes);
    }

    let mut buffer = BytesMut::from(bytes);
    replace_parse_error(&mut buffer, b"new");
    let kept = buffer.strip_suffix(b"new").expect("the response is added");
    let replaced = bytes.strip_prefix(kept).expect("what is before it stays");
    // What is replaced is one head with a status 4xx and without a body.
    if !replaced.is_empty() {
        let head = replaced.to_ascii_lowercase();
        assert!(head.starts_with(b"http/1.") && head.get(9) == Some(&b'4') && head.ends_with(b"\r\n\r\n"));
        assert!(head.windows(17).any(|window| window == b"content-length: 0"));
    }
});
