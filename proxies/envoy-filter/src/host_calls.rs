//! Calls to Envoy. Only this file uses the SDK's `hostcalls`.
//!
//! Every call of the SDK panics on a status that it does not expect. The table shows why none of them does, as of
//! Envoy 1.40:
//!
//! | call | panics on | why that does not happen |
//! | --- | --- | --- |
//! | `get_buffer` | a buffer of another callback, a range past 32 bits | called in the callback of the data; sizes come from Envoy, or are bounded by limits |
//! | `set_buffer` | as above; a start or length within the data | called in the callback of the data; replaces the whole buffer |
//! | `get_map_bytes` | a header name that is not UTF-8 | Envoy answers such a request with 400 |
//! | `get_map`, `get_map_value` | a header value that is not UTF-8 | not called |
//! | `close_downstream` | a callback while the dispatcher has the connections borrowed | called from the tick, where it has not |
//! | `send_http_response` | an invalid status code | all codes are constants |
//! | `call_foreign_function`, `get_property`, `set_effective_context` | statuses other than "not found" and "bad argument" | Envoy returns no others |
//! | `log`, `get_current_time`, `set_tick_period` | any failure | they cannot fail |
//!
//! The dispatcher panics on an unknown context. It knows every context that Envoy has created and not deleted, unless
//! the HTTP filter is configured as a network filter, or the other way round.

use std::time::{Duration, UNIX_EPOCH};

use auth_core::UnixTime;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType};

/// Maximum length of client text in a log line. Longer text is truncated.
const MAX_LOGGED_CHARS: usize = 128;

/// A length that includes the whole buffer.
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

/// Makes client text safe for the log: escapes control characters, so that it cannot start a line or control a
/// terminal, and truncates it.
pub(crate) fn sanitize(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_LOGGED_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_LOGGED_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns the plugin's configuration; empty if there is none.
pub(crate) fn configuration(length: usize) -> Vec<u8> {
    read_buffer(BufferType::PluginConfiguration, length)
}

/// Returns the first `length` bytes that the client sent and this filter has not forwarded.
pub(crate) fn downstream_bytes(length: usize) -> Vec<u8> {
    read_buffer(BufferType::DownstreamData, length)
}

/// Replaces all buffered bytes of the client.
pub(crate) fn replace_downstream(bytes: &[u8]) {
    let _ = hostcalls::set_buffer(BufferType::DownstreamData, 0, WHOLE_BUFFER, bytes);
}

/// Discards all buffered bytes of the broker.
pub(crate) fn drop_upstream() {
    let _ = hostcalls::set_buffer(BufferType::UpstreamData, 0, WHOLE_BUFFER, b"");
}

/// Returns the first `length` bytes of the request body.
pub(crate) fn request_body(length: usize) -> Vec<u8> {
    read_buffer(BufferType::HttpRequestBody, length)
}

/// Discards the buffered part of the request body.
pub(crate) fn drop_request_body() {
    let _ = hostcalls::set_buffer(BufferType::HttpRequestBody, 0, WHOLE_BUFFER, b"");
}

fn read_buffer(buffer: BufferType, length: usize) -> Vec<u8> {
    if length == 0 {
        return Vec::new();
    }
    hostcalls::get_buffer(buffer, 0, length).ok().flatten().unwrap_or_default()
}

/// Returns the headers of the request, with names in lower case.
pub(crate) fn request_headers() -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default()
}

/// Answers the request. Envoy does not forward it.
pub(crate) fn send_response(status: u16, headers: Vec<(&str, &str)>, body: &str) {
    let body = Some(body.as_bytes()).filter(|body| !body.is_empty());
    let _ = hostcalls::send_http_response(status.into(), headers, body);
}

/// Returns the client's address, without the port.
pub(crate) fn peer_address() -> String {
    let address = hostcalls::get_property(vec!["source", "address"]).ok().flatten().unwrap_or_default();
    let address = String::from_utf8(address).unwrap_or_default();
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// Routes the connection to this cluster instead of the default one. Returns whether Envoy accepted it.
pub(crate) fn choose_cluster(name: &str) -> bool {
    let arguments = encode_filter_state("envoy.tcp_proxy.cluster", name);
    hostcalls::call_foreign_function("set_envoy_filter_state", Some(&arguments)).is_ok()
}

/// Encodes the protobuf message `SetEnvoyFilterStateArguments` with path and value. The state lives as long as the filter
/// chain, by default.
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

/// Returns the current time. If the clock cannot be read, returns the maximum, so that every grant has expired.
pub(crate) fn now() -> UnixTime {
    let since = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
    UnixTime(since.map_or(u64::MAX, |since| since.as_secs()))
}

/// Closes a connection after its pending writes. Call it only from the tick.
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
