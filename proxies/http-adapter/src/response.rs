//! Sends a response.

use brokers::HttpResponse;

use crate::bindings::wasi::http::types::{ErrorCode, Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};

/// The most bytes of one write: the limit of `blocking-write-and-flush`.
const CHUNK: usize = 4096;

/// Sends a response. If the host stops taking it, the client gets no response or a part of one.
pub(crate) fn send(response: &HttpResponse, out: ResponseOutparam) {
    match start(response) {
        Ok((started, body)) => {
            ResponseOutparam::set(out, Ok(started));
            write(body, response.body.as_bytes());
        }
        Err(error) => ResponseOutparam::set(out, Err(error)),
    }
}

/// The response without its body, and where the body goes.
fn start(response: &HttpResponse) -> Result<(OutgoingResponse, OutgoingBody), ErrorCode> {
    let headers = Fields::from_list(&headers(response)).map_err(|_| ErrorCode::InternalError(None))?;
    let failed = |()| ErrorCode::InternalError(None);
    let started = OutgoingResponse::new(headers);
    started.set_status_code(response.status).map_err(failed)?;
    let body = started.body().map_err(failed)?;
    Ok((started, body))
}

fn headers(response: &HttpResponse) -> Vec<(String, Vec<u8>)> {
    let owned = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let mut headers: Vec<_> = response.headers.iter().map(|(name, value)| owned(name, value)).collect();
    // A 204 must not have one (RFC 9110, section 8.6).
    if response.status != 204 {
        headers.push(owned("content-length", &response.body.len().to_string()));
    }
    headers
}

fn write(body: OutgoingBody, bytes: &[u8]) {
    if let Ok(stream) = body.write() {
        for chunk in bytes.chunks(CHUNK) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                return;
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}
