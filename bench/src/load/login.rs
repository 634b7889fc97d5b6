//! The login that is asked about, and how its answers are told from anything else.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use auth_core::Settings;

/// A login of a device whose credentials are good.
pub(crate) struct Login {
    request: Vec<u8>,
    forged: Vec<u8>,
}

impl Login {
    /// Signed by the last key of a ring of so many, which is the one that is found last.
    pub(crate) fn signed_by_last(keys: usize) -> Result<Self> {
        Self::to(keys, "/mqtt/auth")
    }

    /// The same, asked about somewhere else.
    pub(crate) fn to(keys: usize, target: &str) -> Result<Self> {
        let settings = Settings::read(|name| (name == "signature-keys").then(|| last_key(keys)))?;
        let (client_id, username) = ("GID_test@@@AA_BB_CC_DD_EE_FF@@@6e7d3c2a", "eyJpcCI6IjEyNy4wLjAuMSJ9");
        let request = |password: String| {
            let body = serde_json::json!({ "client_id": client_id, "username": username, "password": password });
            let (body, head) = (body.to_string(), "host: gate\r\ncontent-type: application/json");
            let length = body.len();
            format!("POST {target} HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
        };
        let forged = request(settings.sign("another client", username));
        Ok(Self { request: request(settings.sign(client_id, username)), forged })
    }

    /// The request, so many times.
    pub(crate) fn requests(&self, count: usize) -> Vec<u8> {
        self.request.repeat(count)
    }

    /// The same with the password of another client.
    pub(crate) fn forged(&self) -> &[u8] {
        &self.forged
    }

    /// Its body.
    pub(crate) fn body(&self) -> &[u8] {
        let end = self.request.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |at| at + 4);
        self.request.get(end..).unwrap_or_default()
    }
}

/// The setting `signature-keys` with a ring of so many keys; of one, the key alone, as most have it.
pub(crate) fn key_ring(keys: usize) -> String {
    if keys == 1 {
        return last_key(1);
    }
    let listed: Vec<_> =
        (1..=keys).map(|at| serde_json::json!({ "id": format!("k{at}"), "key": last_key(at) })).collect();
    serde_json::Value::from(listed).to_string()
}

fn last_key(keys: usize) -> String {
    format!("a key of the bench, of 32 bytes {keys}")
}

/// The answers on one connection. Each has to let in: the first is looked at closely, and so is every one after it that
/// differs in more than the date.
#[derive(Default)]
pub(crate) struct Answers {
    first: Vec<u8>,
    date: Range<usize>,
}

impl Answers {
    /// The length of the answer that these bytes begin with, if it is whole.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        if !self.first.is_empty() && self.is_like_first(bytes) {
            return Ok(Some(self.first.len()));
        }
        let Some((length, date)) = read(bytes)? else { return Ok(None) };
        self.first = bytes.get(..length).unwrap_or_default().to_vec();
        self.date = date;
        Ok(Some(length))
    }

    fn is_like_first(&self, bytes: &[u8]) -> bool {
        let same =
            |range: Range<usize>| bytes.get(range.clone()).is_some_and(|part| self.first.get(range) == Some(part));
        same(0..self.date.start) && same(self.date.end..self.first.len())
    }
}

/// The length of the answer, and where its date stands; nothing if it is not whole.
fn read(bytes: &[u8]) -> Result<Option<(usize, Range<usize>)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(begin) = head.parse(bytes)? else { return Ok(None) };
    let header = |name: &str| head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let length: usize =
        str::from_utf8(header("content-length").context("an answer without its length")?.value)?.parse()?;
    let Some(body) = bytes.get(begin..begin + length) else { return Ok(None) };
    // EMQX's way to say it, whatever else a server adds.
    let lets_in =
        serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|body| body.get("result") == Some(&"allow".into()));
    if head.code != Some(200) || !lets_in {
        bail!("a good login was answered {:?} {}", head.code, String::from_utf8_lossy(body));
    }
    let date = header("date").map_or(&[][..], |date| date.value);
    let at = bytes.windows(date.len().max(1)).position(|part| part == date).unwrap_or_default();
    Ok(Some((begin + length, at..at + date.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, second: u8, result: &str) -> Vec<u8> {
        let body = format!(r#"{{"result":"{result}"}}"#);
        let length = body.len();
        let date = format!("Sun, 22 Nov 2026 12:00:{second:02} GMT");
        format!("HTTP/1.1 {status}\r\ndate: {date}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn answers_are_told_apart_and_may_differ_in_their_date() {
        let mut answers = Answers::default();
        let (first, second) = (answer("200 OK", 1, "allow"), answer("200 OK", 59, "allow"));
        let both = [first.clone(), second].concat();
        assert_eq!(answers.next(&both).unwrap(), Some(first.len()));
        assert_eq!(answers.next(&both[first.len()..]).unwrap(), Some(first.len()));
        assert_eq!(answers.next(&first[..first.len() - 1]).unwrap(), None);
        assert_eq!(answers.next(&first[..20]).unwrap(), None);
    }

    #[test]
    fn an_answer_that_does_not_let_in_is_an_error_first_or_later() {
        for other in [answer("200 OK", 1, "denys"), answer("401 No", 1, "allow"), answer("200 OK", 1, "allow!")] {
            assert!(Answers::default().next(&other).is_err());
            let mut answers = Answers::default();
            answers.next(&answer("200 OK", 1, "allow")).unwrap();
            assert!(answers.next(&other).is_err());
        }
    }
}
