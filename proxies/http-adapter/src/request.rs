//! A request, read whole: its head, and its body bounded in size.

use brokers::{Method, Parsed, RequestError, RequestHead, RequestKind, Route};

use crate::bindings::wasi::http::types::{self, IncomingBody, IncomingRequest};
use crate::bindings::wasi::io::streams::{InputStream, StreamError};

/// The longest body that is looked at, as in the native host.
const DEFAULT_MAX_BODY: usize = 64 << 10;

/// How much of a body that is too large is read and thrown away: others may have requests behind it.
const MAX_DISCARDED_BODY: usize = 4 << 20;

/// The most that is read at once.
const CHUNK: u64 = 16 << 10;

/// So many pieces with nothing in them, one after another, are no body that goes on.
const MAX_EMPTY_CHUNKS: u32 = 64;

/// A request. How long its body took to arrive was for the host to bound.
pub(crate) struct Request {
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Result<Vec<u8>, RequestError>,
}

impl Request {
    /// Reads a request to the end of its body, whatever is asked by it.
    pub(crate) fn read(request: &IncomingRequest) -> Self {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target, None),
        };
        let mut headers = request.headers().entries();
        headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
        Self { method: method_name(request.method()), path, query, headers, body: read_body(request) }
    }

    /// What it comes for.
    pub(crate) fn errand(&self) -> RequestKind {
        let head = RequestHead {
            method: &self.method,
            path: &self.path,
            has_query: self.query.is_some(),
            has_body: !self.body.as_ref().is_ok_and(Vec::is_empty),
        };
        RequestKind::of(&head, self.headers.iter().map(|(name, _)| name.as_str()))
    }

    /// What it asks.
    pub(crate) fn ask(&self, route: Route, method: Option<Method>) -> Result<Parsed, RequestError> {
        let body = self.body.as_ref().map_err(Clone::clone)?;
        let method = method.ok_or(RequestError::Method)?;
        let header = |name: &str| self.header(name);
        route.parse(&brokers::Request { method, query: self.query.as_deref(), header: &header, body })
    }

    /// The method, as it was sent.
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// Whether a browser asks for a page.
    pub(crate) fn is_cross_origin(&self) -> bool {
        self.header("origin").is_some()
    }

    /// A header by its name in lower case; the empty text if it is none.
    fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        Some(if is_text { str::from_utf8(value).unwrap_or_default() } else { "" })
    }
}

fn method_name(method: types::Method) -> String {
    let name = match method {
        types::Method::Get => "GET",
        types::Method::Head => "HEAD",
        types::Method::Post => "POST",
        types::Method::Put => "PUT",
        types::Method::Delete => "DELETE",
        types::Method::Connect => "CONNECT",
        types::Method::Options => "OPTIONS",
        types::Method::Trace => "TRACE",
        types::Method::Patch => "PATCH",
        types::Method::Other(name) => return name,
    };
    name.to_owned()
}

fn read_body(request: &IncomingRequest) -> Result<Vec<u8>, RequestError> {
    let body: IncomingBody = request.consume().map_err(|()| RequestError::Truncated)?;
    let stream = body.stream().map_err(|()| RequestError::Truncated)?;
    let mut whole = Vec::new();
    // Each piece holds something, so that the limits bound both loops.
    while let Some(piece) = next_piece(&stream)? {
        if whole.len() + piece.len() > DEFAULT_MAX_BODY {
            discard(&stream, whole.len() + piece.len());
            return Err(RequestError::TooLarge { limit: DEFAULT_MAX_BODY });
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

fn discard(stream: &InputStream, mut read: usize) {
    while read <= MAX_DISCARDED_BODY
        && let Ok(Some(piece)) = next_piece(stream)
    {
        read += piece.len();
    }
}

/// The next piece that holds something; `None` at the end.
fn next_piece(stream: &InputStream) -> Result<Option<Vec<u8>>, RequestError> {
    for _ in 0..MAX_EMPTY_CHUNKS {
        match stream.blocking_read(CHUNK) {
            Ok(piece) if piece.is_empty() => {}
            Ok(piece) => return Ok(Some(piece)),
            Err(StreamError::Closed) => return Ok(None),
            Err(StreamError::LastOperationFailed(_)) => return Err(RequestError::Truncated),
        }
    }
    Err(RequestError::Truncated)
}
