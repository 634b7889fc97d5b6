//! A minimal HTTP/1.1 client that can pipeline requests.

use std::io::ErrorKind;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::within_timeout;

/// A client connection, over TCP by default.
pub(crate) struct Connection<S = TcpStream>(BufReader<S>);

#[derive(Debug)]
pub(crate) struct Response {
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

    /// Whether the server has closed the connection already. Only valid while no response is outstanding.
    pub(crate) fn is_closed(&self) -> bool {
        !matches!(self.0.get_ref().try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn from_stream(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) async fn request(&mut self, request: &[u8]) -> Response {
        self.send(request).await;
        self.response().await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within_timeout("room to send", self.0.get_mut().write_all(bytes)).await.unwrap();
    }

    /// Sends, and reports whether the server still accepts data.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        within_timeout("room to send, or the connection to close", self.0.get_mut().write_all(bytes)).await.is_ok()
    }

    /// Closes the sending half.
    pub(crate) async fn shutdown_write(&mut self) {
        self.0.get_mut().shutdown().await.unwrap();
    }

    pub(crate) async fn response(&mut self) -> Response {
        self.try_response().await.expect("a response before the connection closes")
    }

    /// The next response; `None` if the connection closes instead.
    pub(crate) async fn try_response(&mut self) -> Option<Response> {
        within_timeout("a response", self.read_response()).await
    }

    /// Waits until the server closes the connection, and discards whatever comes before that.
    pub(crate) async fn wait_closed(&mut self) {
        let mut rest = Vec::new();
        let _ = within_timeout("the connection to close", self.0.read_to_end(&mut rest)).await;
    }

    /// Whether the server closes the connection with the end-of-stream of its protocol (FIN, or close_notify in TLS).
    pub(crate) async fn closes_cleanly(&mut self) -> bool {
        within_timeout("the connection to close", self.0.read(&mut [0])).await.is_ok_and(|read| read == 0)
    }

    async fn read_response(&mut self) -> Option<Response> {
        let mut response = self.response_head().await?;
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = self.chunks().await;
            return Some(response);
        }
        let length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        response.body.resize(length, 0);
        self.0.read_exact(&mut response.body).await.unwrap();
        Some(response)
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

    /// The next response without its body.
    pub(crate) async fn response_head(&mut self) -> Option<Response> {
        let status = self.line().await?.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await.expect("a complete head");
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Some(Response { status, headers, body: Vec::new() })
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = within_timeout("a line", self.0.read_line(&mut line)).await.ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The field `result` of the body.
    pub(crate) fn result(&self) -> String {
        self.json()["result"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn get(target: &str) -> Vec<u8> {
    without_body("GET", target)
}

/// A request without a body, with an `accept` header.
pub(crate) fn without_body(method: &str, target: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nhost: gate\r\naccept: */*\r\n\r\n").into_bytes()
}

/// Adds a header to a request, before all others.
pub(crate) fn with_header(request: &[u8], name: &str, value: &str) -> Vec<u8> {
    let text = String::from_utf8(request.to_vec()).unwrap();
    text.replacen("\r\n", &format!("\r\n{name}: {value}\r\n"), 1).into_bytes()
}

/// The same request, as a browser sends it for a page of another origin.
pub(crate) fn cross_origin(request: &[u8]) -> Vec<u8> {
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
