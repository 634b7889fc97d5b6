//! A request, received in full: its head, and its body bounded in size.

use brokers::{
    DEFAULT_MAX_BODY, HttpRequest, HttpResponse, MAX_DISCARDED_BODY, PolicyCall, RequestError, RequestHead,
    RequestKind, Routes, header_text, respond, split_target,
};

use crate::bindings::wasi::http::types::{IncomingBody, IncomingRequest, Method};
use crate::bindings::wasi::io::streams::{InputStream, StreamError};

/// The most bytes of one read.
const CHUNK: u64 = 16 << 10;

/// The limit of empty reads in a row, so that a stream without data cannot keep the instance busy.
const MAX_EMPTY_READS: u32 = 64;

/// A request. The host around the adapter limits how long the body takes.
pub(crate) struct ReceivedRequest {
    method: String,
    target: String,
    /// Names are in lower case.
    headers: Vec<(String, Vec<u8>)>,
    body: Result<Vec<u8>, RequestError>,
}

impl ReceivedRequest {
    /// Receives a request to the end of its body, whatever its kind.
    pub(crate) fn receive(request: &IncomingRequest) -> Self {
        let mut headers = request.headers().entries();
        headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
        Self {
            method: method_name(request.method()),
            target: request.path_with_query().unwrap_or_default(),
            headers,
            body: receive_body(request),
        }
    }

    /// Answers the request.
    pub(crate) fn respond(&self, policy: &impl PolicyCall) -> HttpResponse {
        let (path, query) = split_target(&self.target);
        let has_body = !self.body.as_ref().is_ok_and(Vec::is_empty);
        let head = RequestHead { method: &self.method, path, has_query: query.is_some(), has_body };
        let request = HttpRequest {
            kind: RequestKind::of(&head, self.headers.iter().map(|(name, _)| name.as_str()), &Routes::default()),
            method: &self.method,
            query,
            header: &|name| self.header(name),
            body: self.body.as_deref().map_err(Clone::clone),
        };
        respond(&request, policy)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| header_text(value))
    }
}

fn method_name(method: Method) -> String {
    let name = match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => return name,
    };
    name.to_owned()
}

fn receive_body(request: &IncomingRequest) -> Result<Vec<u8>, RequestError> {
    let body: IncomingBody = request.consume().map_err(|()| RequestError::Truncated)?;
    let stream = body.stream().map_err(|()| RequestError::Truncated)?;
    let mut whole = Vec::new();
    // No chunk is empty, so the limits bound both loops.
    while let Some(chunk) = next_chunk(&stream)? {
        if whole.len() + chunk.len() > DEFAULT_MAX_BODY {
            discard(&stream, whole.len() + chunk.len());
            return Err(RequestError::TooLarge { limit: DEFAULT_MAX_BODY });
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

/// Reads and drops the rest of a body of which `read` bytes have arrived.
fn discard(stream: &InputStream, mut read: usize) {
    while read <= MAX_DISCARDED_BODY
        && let Ok(Some(chunk)) = next_chunk(stream)
    {
        read += chunk.len();
    }
}

/// The next chunk that is not empty; `None` at the end.
fn next_chunk(stream: &InputStream) -> Result<Option<Vec<u8>>, RequestError> {
    for _ in 0..MAX_EMPTY_READS {
        match stream.blocking_read(CHUNK) {
            Ok(chunk) if chunk.is_empty() => {}
            Ok(chunk) => return Ok(Some(chunk)),
            Err(StreamError::Closed) => return Ok(None),
            Err(StreamError::LastOperationFailed(_)) => return Err(RequestError::Truncated),
        }
    }
    Err(RequestError::Truncated)
}
