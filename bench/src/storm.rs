//! The load: connections that each keep so many logins on their way, in a closed loop, as EMQX does in a reconnect storm.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use auth_core::signature::Key;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The key of the servers that are measured.
pub(crate) const KEY: &str = "a key of the bench, 32 bytes....";

/// A login that has to be let in, and what the answer to it holds.
pub(crate) struct Login {
    request: Vec<u8>,
}

/// What the answer to every login has to be.
const ANSWER: &[u8] = br#"{"result":"allow"}"#;

impl Login {
    /// The login of a device whose credentials are good.
    pub(crate) fn genuine() -> Result<Self> {
        let (client_id, username) = ("GID_test@@@AA_BB_CC_DD_EE_FF@@@6e7d3c2a", "eyJpcCI6IjEyNy4wLjAuMSJ9");
        let password = Key::new(None, KEY.as_bytes()).sign(client_id, username);
        let body = serde_json::json!({ "client_id": client_id, "username": username, "password": password });
        let body = serde_json::to_string(&body)?;
        let length = body.len();
        let head = format!(
            "POST /mqtt/auth HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        Ok(Self { request: (head + &body).into_bytes() })
    }
}

/// Connections and how many logins are on their way on each.
pub(crate) struct Storm<'a> {
    pub(crate) connections: usize,
    pub(crate) depth: usize,
    pub(crate) login: &'a Login,
}

/// What came of it.
pub(crate) struct Answered {
    /// Logins that were answered, all as they had to be.
    pub(crate) logins: u64,
    /// How long that took.
    pub(crate) took: Duration,
    /// How long each answer was waited for, in nanoseconds.
    pub(crate) latencies: Histogram<u64>,
}

impl Storm<'_> {
    /// Asks for so long, on one thread: the other processors are for the server.
    pub(crate) fn run(&self, server: SocketAddr, long: Duration) -> Result<Answered> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let burst = self.login.request.repeat(self.depth);
        runtime.block_on(async {
            let began = Instant::now();
            let until = began + long;
            let mut asking = Vec::new();
            for _ in 0..self.connections {
                asking.push(tokio::spawn(ask(server, burst.clone(), self.depth, until)));
            }
            let mut latencies = histogram()?;
            for one in asking {
                latencies.add(one.await??)?;
            }
            Ok(Answered { logins: latencies.len(), took: began.elapsed(), latencies })
        })
    }
}

/// From a microsecond to a minute, to three digits.
fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?)
}

/// Sends bursts and waits for their answers, until then.
async fn ask(server: SocketAddr, burst: Vec<u8>, depth: usize, until: Instant) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let mut arrived = Vec::with_capacity(64 << 10);
    while Instant::now() < until {
        let sent = Instant::now();
        stream.write_all(&burst).await?;
        let mut answers = 0;
        while answers < depth {
            match first_answer(&arrived)? {
                Some(length) => {
                    arrived.drain(..length);
                    answers += 1;
                    latencies.saturating_record(sent.elapsed().as_nanos().try_into()?);
                }
                None if stream.read_buf(&mut arrived).await? == 0 => bail!("the server hung up"),
                None => {}
            }
        }
    }
    Ok(latencies)
}

/// The length of the answer that these bytes begin with, if it is whole. It has to let in.
fn first_answer(bytes: &[u8]) -> Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(begin) = head.parse(bytes)? else { return Ok(None) };
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: usize = str::from_utf8(length.context("no length")?.value)?.parse()?;
    let Some(body) = bytes.get(begin..begin + length) else { return Ok(None) };
    if head.code != Some(200) || body != ANSWER {
        bail!("a good login was answered {:?} {}", head.code, String::from_utf8_lossy(body));
    }
    Ok(Some(begin + length))
}
