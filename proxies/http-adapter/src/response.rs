//! An answer, and sending it.

use std::borrow::Cow;

use brokers::{CORS_HEADERS, Reply, Route};

use crate::bindings::wasi::http::types::{ErrorCode, Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};

/// The most that may be written at once.
const CHUNK: usize = 4096;

/// What is sent back.
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Cow<'static, str>,
}

impl Answer {
    /// What a broker is told on this route.
    pub(crate) fn to_broker(route: Route, reply: Reply) -> Self {
        let answer = Self::text(reply.status, reply.content_type, reply.body);
        if reply.status == 405 { answer.with("allow", route.methods()) } else { answer }
    }

    /// Text.
    pub(crate) fn text(status: u16, content_type: &str, body: impl Into<Cow<'static, str>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self { status, headers: Vec::new(), body }.with("content-type", content_type).with("content-length", &length)
    }

    /// A status without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Cow::Borrowed("") }
    }

    /// The same, for a page from elsewhere to read.
    pub(crate) fn with_cors(self) -> Self {
        CORS_HEADERS.into_iter().fold(self, |answer, (name, value)| answer.with(name, value))
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// Sends it. Where the host does not take it there is nobody left to tell, and the client gets no answer, or half of
    /// one.
    pub(crate) fn send(self, out: ResponseOutparam) {
        match self.head() {
            Ok((response, body)) => {
                ResponseOutparam::set(out, Ok(response));
                write(body, self.body.as_bytes());
            }
            Err(error) => ResponseOutparam::set(out, Err(error)),
        }
    }

    fn head(&self) -> Result<(OutgoingResponse, OutgoingBody), ErrorCode> {
        let failed = |()| ErrorCode::InternalError(None);
        let headers = Fields::from_list(&self.headers).map_err(|_| ErrorCode::InternalError(None))?;
        let response = OutgoingResponse::new(headers);
        response.set_status_code(self.status).map_err(failed)?;
        let body = response.body().map_err(failed)?;
        Ok((response, body))
    }
}

fn write(body: OutgoingBody, bytes: &[u8]) {
    if let Ok(stream) = body.write() {
        for piece in bytes.chunks(CHUNK) {
            if stream.blocking_write_and_flush(piece).is_err() {
                return;
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}
