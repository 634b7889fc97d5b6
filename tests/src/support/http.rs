//! As much of an HTTP/1.1 client as it takes to pipeline.

use std::io::ErrorKind;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::child::PATIENCE;

/// In TCP, unless something else is said.
pub(crate) struct Connection<S = TcpStream>(BufReader<S>);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Whether the other side has ended the connection, as far as is known here. Nobody owes an answer meanwhile.
    pub(crate) fn is_ended(&self) -> bool {
        !matches!(self.0.get_ref().try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// One that somebody has opened.
    pub(crate) fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) async fn ask(&mut self, request: &[u8]) -> Answer {
        self.send(request).await;
        self.answer().await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    /// Sends, unless the other side ends the connection.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        timeout(PATIENCE, self.0.get_mut().write_all(bytes)).await.expect("the end of the connection, or room").is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.0.get_mut().shutdown().await.unwrap();
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("an answer and not the end of the connection")
    }

    /// The next answer; `None` if the connection ends before it begins.
    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer()).await.expect("an answer in time")
    }

    /// Waits for the end of the connection, whatever comes before it.
    pub(crate) async fn end(&mut self) {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("the end of the connection");
    }

    /// Whether the other side ends the connection now, and says so in the way of what it is made of.
    pub(crate) async fn ends_cleanly(&mut self) -> bool {
        let read = timeout(PATIENCE, self.0.read(&mut [0])).await.expect("the end of the connection");
        read.is_ok_and(|read| read == 0)
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = self.chunks().await;
            return Some(answer);
        }
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body.resize(length, 0);
        self.0.read_exact(&mut answer.body).await.unwrap();
        Some(answer)
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line().await.expect("a chunk"), 16).unwrap();
            let start = body.len();
            body.resize(start + length, 0);
            self.0.read_exact(&mut body[start..]).await.unwrap();
            self.line().await.expect("the end of a chunk");
            if length == 0 {
                return body;
            }
        }
    }

    /// An answer without its body.
    pub(crate) async fn head(&mut self) -> Option<Answer> {
        let status = self.line().await?.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await.expect("a whole head");
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Some(Answer { status, headers, body: Vec::new() })
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).await.ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The member `result` of the body.
    pub(crate) fn result(&self) -> String {
        self.json()["result"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn get(target: &str) -> Vec<u8> {
    bare("GET", target)
}

/// A request without a body.
pub(crate) fn bare(method: &str, target: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nhost: gate\r\naccept: */*\r\n\r\n").into_bytes()
}

/// The same request, as a browser sends it for a page from elsewhere.
pub(crate) fn by_a_page(request: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(request).replacen("host: gate\r\n", "host: gate\r\norigin: http://page\r\n", 1).into_bytes()
}

pub(crate) fn post(target: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: gate\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

pub(crate) fn post_json(target: &str, body: &Value) -> Vec<u8> {
    post(target, "application/json", body.to_string().as_bytes())
}
