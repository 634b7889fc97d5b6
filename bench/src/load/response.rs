//! Splits and checks the responses of one connection.

use std::ops::Range;

use anyhow::{Context, Result, bail};

/// Checks the responses of one connection, each of which must allow the login.
///
/// The first response is parsed. A later response is compared with it byte by byte, except for the date, and is parsed
/// only if it differs. So the load takes little processor time from the server under test.
#[derive(Default)]
pub(crate) struct ResponseChecker {
    first: Vec<u8>,
    /// The position of the `date` value in `first`.
    date: Range<usize>,
}

impl ResponseChecker {
    /// Returns the length of the response at the start of `bytes`, or `None` if the response is incomplete.
    ///
    /// # Errors
    /// The response is not valid HTTP, or does not allow the login.
    pub(crate) fn next_len(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        if !self.first.is_empty() && self.matches_first(bytes) {
            return Ok(Some(self.first.len()));
        }
        let Some((length, date)) = parse(bytes)? else { return Ok(None) };
        self.first = bytes.get(..length).unwrap_or_default().to_vec();
        self.date = date;
        Ok(Some(length))
    }

    fn matches_first(&self, bytes: &[u8]) -> bool {
        let same =
            |range: Range<usize>| bytes.get(range.clone()).is_some_and(|part| self.first.get(range) == Some(part));
        same(0..self.date.start) && same(self.date.end..self.first.len())
    }
}

/// Returns the length of the response and the position of its date, or `None` if the response is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Range<usize>)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_start) = head.parse(bytes)? else { return Ok(None) };
    let header = |name: &str| head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let length: usize =
        str::from_utf8(header("content-length").context("response without content-length")?.value)?.parse()?;
    let Some(body) = bytes.get(body_start..body_start + length) else { return Ok(None) };
    // EMQX's allow response. A server may add other fields.
    let is_allowed =
        serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|body| body.get("result") == Some(&"allow".into()));
    if head.code != Some(200) || !is_allowed {
        bail!("a valid login was not allowed: {:?} {}", head.code, String::from_utf8_lossy(body));
    }
    let date = header("date").map_or(&[][..], |date| date.value);
    let at = bytes.windows(date.len().max(1)).position(|part| part == date).unwrap_or_default();
    Ok(Some((body_start + length, at..at + date.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: &str, second: u8, result: &str) -> Vec<u8> {
        let body = format!(r#"{{"result":"{result}"}}"#);
        let length = body.len();
        let date = format!("Sun, 22 Nov 2026 12:00:{second:02} GMT");
        format!("HTTP/1.1 {status}\r\ndate: {date}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn splits_pipelined_responses_that_differ_only_in_date() {
        let mut checker = ResponseChecker::default();
        let (first, second) = (response("200 OK", 1, "allow"), response("200 OK", 59, "allow"));
        let both = [first.clone(), second].concat();
        assert_eq!(checker.next_len(&both).unwrap(), Some(first.len()));
        assert_eq!(checker.next_len(&both[first.len()..]).unwrap(), Some(first.len()));
        assert_eq!(checker.next_len(&first[..first.len() - 1]).unwrap(), None);
        assert_eq!(checker.next_len(&first[..20]).unwrap(), None);
    }

    #[test]
    fn rejects_a_response_that_does_not_allow_whether_first_or_later() {
        for other in [response("200 OK", 1, "denys"), response("401 No", 1, "allow"), response("200 OK", 1, "allow!")] {
            assert!(ResponseChecker::default().next_len(&other).is_err());
            let mut checker = ResponseChecker::default();
            checker.next_len(&response("200 OK", 1, "allow")).unwrap();
            assert!(checker.next_len(&other).is_err());
        }
    }
}
