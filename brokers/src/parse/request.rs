//! The parts of an HTTP request that dialects read.

/// The default limit of a request body, in bytes: far more than the login of a device.
pub const DEFAULT_MAX_BODY: usize = 64 << 10;

/// How many bytes of a body that is too large are read and discarded, so that the connection lives on: other requests
/// wait on it. Beyond this limit the connection is closed.
///
/// A client can make a broker send less than this: three strings of 65,535 bytes, each byte written as six.
pub const MAX_DISCARDED_BODY: usize = 4 << 20;

/// A request, as far as dialects read it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The part of the URL after `?`.
    pub query: Option<&'a str>,
    /// Looks up a header by its name in lower case. Values are as [`header_text`] returns them.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The whole body. Ignored for GET.
    pub body: &'a [u8],
}

/// A method that brokers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The fields are in the query.
    Get,
    /// The fields are in the body.
    Post,
}

impl<'a> Request<'a> {
    /// The content type without its parameters.
    pub(crate) fn media_type(&self) -> Option<&'a str> {
        (self.header)("content-type").map(|text| text.split(';').next().unwrap_or(text).trim())
    }
}

/// A header value as text; empty if it holds anything but visible ASCII, spaces and tabs.
#[must_use]
pub fn header_text(value: &[u8]) -> &str {
    let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if is_text { str::from_utf8(value).unwrap_or_default() } else { "" }
}

/// The path and the query of a request target.
#[must_use]
pub fn split_target(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_that_is_not_visible_ascii_is_empty() {
        assert_eq!(header_text(b"application/json;\tcharset=x"), "application/json;\tcharset=x");
        for value in [&b"\xff"[..], b"a\0", b"a\nb", "ü".as_bytes(), b"\x7f"] {
            assert_eq!(header_text(value), "", "{value:?}");
        }
    }

    #[test]
    fn target_is_split_at_the_first_question_mark() {
        assert_eq!(split_target("/a?b?c"), ("/a", Some("b?c")));
        assert_eq!(split_target("/a?"), ("/a", Some("")));
        assert_eq!(split_target("/a"), ("/a", None));
    }
}
