//! What a filter asks of Envoy, and the one file that names the SDK's calls.
//!
//! Every call of the SDK panics on a status that it does not expect. By Envoy 1.40 these can be had as follows, and are
//! never called otherwise:
//!
//! | call | what it would panic on | why that does not happen |
//! | --- | --- | --- |
//! | `get_buffer` | a buffer of another callback, a range past 32 bits | called in the callback of the data; sizes are Envoy's own, or bounded by limits |
//! | `set_buffer` | as above; a start or length within the data | called in the callback of the data; replaces all of it |
//! | `get_map_bytes` | a header's name that is not UTF-8 | Envoy answers such a request itself: 400 |
//! | `get_map`, `get_map_value` | a header's value that is not UTF-8 | not called |
//! | `close_downstream` | calls back: the dispatcher has the connections borrowed in their own callbacks | called by the tick, which has not |
//! | `send_http_response` | a status code that is none | ours |
//! | `call_foreign_function`, `get_property`, `set_effective_context` | statuses other than "not found" and "bad argument" | they give no others |
//! | `log`, `get_current_time`, `set_tick_period` | any failure | they have none |
//!
//! The dispatcher panics on a context that it does not know. It knows every one that Envoy has made and not deleted, unless
//! the HTTP filter is put into the chain of a listener, or the other way round.

use std::time::{Duration, UNIX_EPOCH};

use auth_core::UnixTime;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType};

/// Text from elsewhere is cut after this many characters.
const MAX_LOGGED_CHARS: usize = 128;

/// Everything there is of a buffer.
const WHOLE_BUFFER: usize = usize::MAX;

pub(crate) fn info(line: &str) {
    let _ = hostcalls::log(LogLevel::Info, line);
}

pub(crate) fn warn(line: &str) {
    let _ = hostcalls::log(LogLevel::Warn, line);
}

pub(crate) fn error(line: &str) {
    let _ = hostcalls::log(LogLevel::Error, line);
}

/// Text that a client chose: escaped, so that it cannot start a line or steer a terminal, and cut.
pub(crate) fn sanitize(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_LOGGED_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_LOGGED_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// The plugin's configuration; empty if there is none.
pub(crate) fn configuration(length: usize) -> Vec<u8> {
    read_buffer(BufferType::PluginConfiguration, length)
}

/// The first bytes that a client sent and nobody has taken yet.
pub(crate) fn downstream_bytes(length: usize) -> Vec<u8> {
    read_buffer(BufferType::DownstreamData, length)
}

/// Puts these bytes in the place of all that the client sent.
pub(crate) fn replace_downstream(bytes: &[u8]) {
    let _ = hostcalls::set_buffer(BufferType::DownstreamData, 0, WHOLE_BUFFER, bytes);
}

/// Throws away what there is of the broker's bytes.
pub(crate) fn drop_upstream() {
    let _ = hostcalls::set_buffer(BufferType::UpstreamData, 0, WHOLE_BUFFER, b"");
}

/// The first bytes of a request's body.
pub(crate) fn request_body(length: usize) -> Vec<u8> {
    read_buffer(BufferType::HttpRequestBody, length)
}

/// Throws away what there is of a request's body.
pub(crate) fn drop_request_body() {
    let _ = hostcalls::set_buffer(BufferType::HttpRequestBody, 0, WHOLE_BUFFER, b"");
}

fn read_buffer(buffer: BufferType, length: usize) -> Vec<u8> {
    if length == 0 {
        return Vec::new();
    }
    hostcalls::get_buffer(buffer, 0, length).ok().flatten().unwrap_or_default()
}

/// The headers of a request, with their names in lower case.
pub(crate) fn request_headers() -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default()
}

/// Answers the request. Nothing of it goes any further.
pub(crate) fn send_response(status: u16, headers: Vec<(&str, &str)>, body: &str) {
    let body = Some(body.as_bytes()).filter(|body| !body.is_empty());
    let _ = hostcalls::send_http_response(status.into(), headers, body);
}

/// The address of whoever is at the other end, without the port.
pub(crate) fn peer_address() -> String {
    let address = hostcalls::get_property(vec!["source", "address"]).ok().flatten().unwrap_or_default();
    let address = String::from_utf8(address).unwrap_or_default();
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// Has the connection go to this cluster, instead of where it would go by itself. Whether that was heard.
pub(crate) fn choose_cluster(name: &str) -> bool {
    let arguments = encode_filter_state("envoy.tcp_proxy.cluster", name);
    hostcalls::call_foreign_function("set_envoy_filter_state", Some(&arguments)).is_ok()
}

/// The message `SetEnvoyFilterStateArguments` in the encoding of protocol buffers: path, value; for as long as the chain.
fn encode_filter_state(path: &str, value: &str) -> Vec<u8> {
    let mut message = Vec::new();
    for (tag, text) in [(0x0a, path), (0x12, value)] {
        message.push(tag);
        push_varint(&mut message, text.len());
        message.extend_from_slice(text.as_bytes());
    }
    message
}

fn push_varint(message: &mut Vec<u8>, mut length: usize) {
    while let Some(rest @ 1..) = length.checked_shr(7) {
        message.push((length & 0x7f) as u8 | 0x80);
        length = rest;
    }
    message.push((length & 0x7f) as u8);
}

/// Now. A clock that cannot be read is at its end: every grant has expired then.
pub(crate) fn now() -> UnixTime {
    let since = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
    UnixTime(since.map_or(u64::MAX, |since| since.as_secs()))
}

/// Ends a connection, once what was sent to it is on its way. Only from a tick.
pub(crate) fn close_connection(connection: u32) {
    if hostcalls::set_effective_context(connection).is_ok() {
        let _ = hostcalls::close_downstream();
    }
}

pub(crate) fn set_tick_interval(period: Duration) {
    let _ = hostcalls::set_tick_period(period);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_filter_state_as_protobuf() {
        assert_eq!(encode_filter_state("ab", "c"), b"\x0a\x02ab\x12\x01c");
        let long = "x".repeat(300);
        assert_eq!(encode_filter_state("", &long), [b"\x0a\0\x12\xac\x02", long.as_bytes()].concat());
    }

    #[test]
    fn sanitize_escapes_control_characters_and_truncates() {
        assert_eq!(sanitize("a\n\u{1b}"), "a\\n\\u{1b}");
        assert_eq!(sanitize(&"é".repeat(129)), "é".repeat(128) + "…");
    }
}
