//! A client that logs in all the time, on one connection while it lasts, and judges every answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::expectation::{Expectations, Expected};
use super::site::KEYS;
use crate::load::login::Login;

/// A request without an answer after this time is lost, however often it was sent again.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// Wait before a request is sent again.
const RETRY_WAIT: Duration = Duration::from_millis(50);

/// Wait between two requests, so that the machine has time for everything else.
const PAUSE: Duration = Duration::from_millis(1);

/// Each of so many requests has a wrong password.
const FORGED_EACH: u64 = 5;

/// Counts of the answers that clients received.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) allowed: u64,
    pub(crate) denied: u64,
    pub(crate) sent_again: u64,
    pub(crate) lost: u64,
    pub(crate) misjudged: u64,
}

pub(crate) struct Client {
    address: SocketAddr,
    key: usize,
    login: Login,
    expectations: Arc<Expectations>,
    connection: Option<TcpStream>,
    tally: Tally,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.allowed += other.allowed;
        self.denied += other.denied;
        self.sent_again += other.sent_again;
        self.lost += other.lost;
        self.misjudged += other.misjudged;
    }
}

impl Client {
    /// A client whose password is signed by one of [`super::site::KEYS`].
    pub(crate) fn new(address: SocketAddr, key: usize, expectations: Arc<Expectations>) -> Result<Self> {
        let login = Login::signed_by(KEYS.get(key).context("no such key")?, "/mqtt/auth")?;
        Ok(Self { address, key, login, expectations, connection: None, tally: Tally::default() })
    }

    /// Logs in until the end.
    pub(crate) fn run(mut self) -> Tally {
        while !self.expectations.is_over() {
            let is_forged = self.tally.requests.is_multiple_of(FORGED_EACH);
            let before = self.expected(is_forged);
            self.tally.requests += 1;
            match self.ask(is_forged) {
                None => self.tally.lost += 1,
                Some(is_allowed) => {
                    *if is_allowed { &mut self.tally.allowed } else { &mut self.tally.denied } += 1;
                    let answered = if is_allowed { Expected::Allow } else { Expected::Deny };
                    // If that changed meanwhile, the answer before and the one after are both right.
                    if before == self.expected(is_forged) && before != Expected::Either && before != answered {
                        self.tally.misjudged += 1;
                        eprintln!("soak: key {}: {answered:?} instead of {before:?}, forged: {is_forged}", self.key);
                    }
                }
            }
            thread::sleep(PAUSE);
        }
        self.tally
    }

    fn expected(&self, is_forged: bool) -> Expected {
        if is_forged { Expected::Deny } else { self.expectations.get(self.key) }
    }

    /// Whether a login is allowed. Sent again on a new connection as long as there is no answer; `None` if it is lost.
    fn ask(&mut self, is_forged: bool) -> Option<bool> {
        let request = if is_forged { self.login.forged_request().to_vec() } else { self.login.requests(1) };
        let started = Instant::now();
        loop {
            match self.exchange(&request) {
                Ok(is_allowed) => return Some(is_allowed),
                Err(_) if started.elapsed() < LOST_AFTER => {
                    self.connection = None;
                    self.tally.sent_again += 1;
                    thread::sleep(RETRY_WAIT);
                }
                Err(error) => {
                    eprintln!("soak: lost: {error:#}");
                    return None;
                }
            }
        }
    }

    fn exchange(&mut self, request: &[u8]) -> Result<bool> {
        if self.connection.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(LOST_AFTER))?;
            self.connection = Some(stream);
        }
        let stream = self.connection.as_mut().context("no connection")?;
        stream.write_all(request)?;
        let (mut response, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            if let Some(is_allowed) = parse(&response)? {
                return Ok(is_allowed);
            }
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                bail!("the connection was closed");
            }
            response.extend_from_slice(buffer.get(..length).unwrap_or_default());
        }
    }
}

/// Whether a response allows the login; `None` if it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<bool>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_start) = head.parse(bytes)? else { return Ok(None) };
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: usize = str::from_utf8(length.context("no content-length")?.value)?.parse()?;
    let Some(body) = bytes.get(body_start..body_start + length) else { return Ok(None) };
    let body = str::from_utf8(body)?;
    match (head.code, body) {
        (Some(200), r#"{"result":"allow"}"#) => Ok(Some(true)),
        // A fault of the gate (503) denies the client too, so it is a wrong answer to a good one.
        (Some(401 | 503), r#"{"result":"deny"}"#) => Ok(Some(false)),
        (code, body) => bail!("unexpected answer: {code:?} {body}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let response = |head: &str, body: &str| {
            format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
        };
        let allowed = response("200 OK", r#"{"result":"allow"}"#);
        assert_eq!(parse(&allowed).unwrap(), Some(true));
        assert_eq!(parse(&allowed[..allowed.len() - 1]).unwrap(), None);
        assert_eq!(parse(&response("401 Unauthorized", r#"{"result":"deny"}"#)).unwrap(), Some(false));
        assert_eq!(parse(&response("503 Service Unavailable", r#"{"result":"deny"}"#)).unwrap(), Some(false));
        assert!(parse(&response("500 Internal Server Error", "")).is_err());
    }
}
