//! Edits HTTP/1 responses in a buffer, where hyper offers no way to.

use bytes::BytesMut;

/// Length of `HTTP/1.1 `, which precedes the status.
const STATUS_AT: usize = 9;

/// Adds `connection: close` to the response that begins at `response_at`. Returns `false` if that is not the head of a
/// final response: a status 1xx asks the client to go on, and is followed by another response.
pub(super) fn insert_connection_close(buffer: &mut BytesMut, response_at: usize) -> bool {
    let head = buffer.get(response_at..).unwrap_or_default();
    if !head.starts_with(b"HTTP/1.1 ") || head.get(STATUS_AT) == Some(&b'1') {
        return false;
    }
    let Some(status_line) = head.windows(2).position(|bytes| bytes == b"\r\n") else { return false };
    let rest = buffer.split_off(response_at + status_line + 2);
    buffer.extend_from_slice(b"connection: close\r\n");
    buffer.unsplit(rest);
    true
}

/// Replaces the last response in the buffer if its status is 4xx. Otherwise the buffer stays as it is.
pub(super) fn replace_last_client_error(buffer: &mut BytesMut, response: &[u8]) {
    let version = b"HTTP/1.";
    let Some(at) = buffer.windows(version.len()).rposition(|bytes| bytes == version) else { return };
    if buffer.get(at + STATUS_AT) == Some(&b'4') {
        buffer.truncate(at);
        buffer.extend_from_slice(response);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    #[test]
    fn inserts_connection_close_into_the_last_response() {
        let mut buffer = BytesMut::from(format!("{OK}{OK}").as_str());
        assert!(insert_connection_close(&mut buffer, OK.len()));
        let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(buffer, format!("{OK}{closing}"));
    }

    #[test]
    fn leaves_everything_else_alone() {
        for text in ["", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK", "ok"] {
            let mut buffer = BytesMut::from(text);
            assert!(!insert_connection_close(&mut buffer, 0), "{text}");
            assert_eq!(buffer, text);
        }
        assert!(!insert_connection_close(&mut BytesMut::from(OK), 1_000));
    }

    #[test]
    fn replaces_a_client_error_and_nothing_else() {
        let error = "HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n";
        for (before, after) in [
            (format!("{OK}{error}"), format!("{OK}new")),
            (error.to_owned(), "new".to_owned()),
            (OK.to_owned(), OK.to_owned()),
            (String::new(), String::new()),
        ] {
            let mut buffer = BytesMut::from(before.as_str());
            replace_last_client_error(&mut buffer, b"new");
            assert_eq!(buffer, after);
        }
    }
}
