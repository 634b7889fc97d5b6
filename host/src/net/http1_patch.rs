//! Edits HTTP/1 responses in a buffer, where hyper offers no way to.

use bytes::BytesMut;

/// The beginning of every response.
const VERSION: &[u8] = b"HTTP/1.";

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

/// Adds the response to a head that hyper could not read. Replaces hyper's own, if there is one: a status 4xx without a
/// body. Every response of the gate with such a status has a body.
pub(super) fn replace_parse_error(buffer: &mut BytesMut, response: &[u8]) {
    if let Some(at) = parse_error_at(buffer) {
        buffer.truncate(at);
    }
    buffer.extend_from_slice(response);
}

/// Where hyper's response to an unreadable head begins. hyper sends none if the bytes look like HTTP/2.
fn parse_error_at(buffer: &[u8]) -> Option<usize> {
    let head = buffer.strip_suffix(b"\r\n\r\n")?;
    let at = head.windows(VERSION.len()).rposition(|bytes| bytes == VERSION)?;
    let head = str::from_utf8(head.get(at..)?).ok()?;
    let has_no_body = head.split("\r\n").any(|line| line.eq_ignore_ascii_case("content-length: 0"));
    (has_no_body && head.as_bytes().get(STATUS_AT) == Some(&b'4')).then_some(at)
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
    fn replaces_the_response_to_an_unreadable_head_and_nothing_else() {
        let error = "HTTP/1.1 431 Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let denied = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 4\r\nconnection: close\r\n\r\n\r\n\r\n";
        let head_only = "HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\n";
        for (before, after) in [
            (format!("{OK}{error}"), format!("{OK}new")),
            (error.to_owned(), "new".to_owned()),
            (format!("{error}{OK}"), format!("{error}{OK}new")),
            (denied.to_owned(), format!("{denied}new")),
            (head_only.to_owned(), format!("{head_only}new")),
            (OK.to_owned(), format!("{OK}new")),
            (String::new(), "new".to_owned()),
        ] {
            let mut buffer = BytesMut::from(before.as_str());
            replace_parse_error(&mut buffer, b"new");
            assert_eq!(buffer, after);
        }
    }
}
