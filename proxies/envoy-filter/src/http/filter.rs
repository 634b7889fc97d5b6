//! Receives a request from Envoy, and answers it when it is complete.

use std::rc::Rc;

use auth_core::Settings;
use brokers::{Errand, Head as RequestHead, Malformed};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::handler::{Event, Request, Response, handle};
use crate::host_calls;
use crate::log_once::LogOnce;

/// Maximum number of bytes to discard of a body that is too large. Up to this limit, the filter waits for the end of
/// the body and the connection stays open, because other requests may be waiting on it.
const MAX_DISCARDED_BODY: usize = 4 << 20;

/// The state that all requests of a worker thread share.
pub(crate) struct HttpFilter {
    settings: Settings,
    max_body: usize,
    logged: LogOnce,
}

impl HttpFilter {
    pub(crate) fn new(settings: Settings, max_body: usize) -> Self {
        Self { settings, max_body, logged: LogOnce::default() }
    }

    /// Logs an event. Each denied login is logged; every other problem is logged once.
    fn log(&self, route: &'static str, event: Event) {
        let (event, kind, problem, hint) = match &event {
            Event::Denied { client_id, reason } => {
                return host_calls::info(&format!(
                    "denied: client_id={} reason={reason} route={route}",
                    host_calls::sanitize(client_id)
                ));
            }
            Event::UnsupportedGrant { client_id, error } => {
                return host_calls::warn(&format!(
                    "error: client_id={} reason=unsupported-grant error=\"{error}\" route={route}",
                    host_calls::sanitize(client_id)
                ));
            }
            Event::Malformed(error) => ("malformed request", error.kind(), error.to_string(), error.remedy()),
            Event::ConfigWarning(warning) => {
                ("broker configuration warning", warning.kind(), warning.to_string(), warning.remedy())
            }
        };
        if self.logged.is_first(route, kind) {
            let fields = format!("route={route} kind={kind} problem={problem:?} hint={hint:?}");
            host_calls::warn(&format!("{event} (logged once): {fields}"));
        }
    }
}

/// A request.
pub(crate) struct HttpRequest {
    filter: Rc<HttpFilter>,
    head: Option<Head>,
    /// Bytes of the body that Envoy buffers.
    buffered: usize,
    /// Bytes of the body that have been discarded.
    discarded: usize,
    has_responded: bool,
}

/// The head of a request.
struct Head {
    headers: Vec<(String, Vec<u8>)>,
    kind: Errand,
}

impl HttpRequest {
    pub(crate) fn new(filter: Rc<HttpFilter>) -> Self {
        Self { filter, head: None, buffered: 0, discarded: 0, has_responded: false }
    }

    /// Answers the request, at most once.
    fn respond(&mut self, body: Result<&[u8], Malformed>) {
        if std::mem::replace(&mut self.has_responded, true) {
            return;
        }
        let Some(Head { headers, kind }) = &self.head else { return };
        let header = |name: &str| header_str(headers, name);
        let query = header(":path").and_then(|target| target.split_once('?')).map(|(_, query)| query);
        let method = header(":method").unwrap_or_default();
        let request = Request { kind: *kind, method, query, header: &header, body };
        let filter = &self.filter;
        let response =
            handle(&request, &filter.settings, host_calls::now(), &mut |route, event| filter.log(route, event));
        let Response { status, headers, body } = response;
        host_calls::send_response(status, headers, &body);
    }

    /// Handles the part of the body that has arrived: `arrived` bytes are buffered.
    fn take_body(&mut self, arrived: usize, is_complete: bool) {
        let limit = self.filter.max_body;
        if self.discarded > 0 || arrived > limit {
            self.buffered = 0;
            self.discarded = self.discarded.saturating_add(arrived);
            host_calls::drop_request_body();
            if is_complete || self.discarded > MAX_DISCARDED_BODY {
                self.respond(Err(Malformed::TooLarge { limit }));
            }
        } else if is_complete {
            self.respond(Ok(&host_calls::request_body(arrived)));
        } else {
            self.buffered = arrived;
        }
    }
}

impl Context for HttpRequest {}

impl HttpContext for HttpRequest {
    fn on_http_request_headers(&mut self, _: usize, is_complete: bool) -> Action {
        let headers = host_calls::request_headers();
        let target = header_str(&headers, ":path").unwrap_or_default();
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let method = header_str(&headers, ":method").unwrap_or_default();
        let head = RequestHead { method, path, has_query: query.is_some(), has_body: !is_complete };
        let kind = Errand::of(&head, headers.iter().map(|(name, _)| name.as_str()));
        self.head = Some(Head { headers, kind });
        if is_complete {
            self.respond(Ok(b""));
        }
        Action::Pause
    }

    fn on_http_request_body(&mut self, arrived: usize, is_complete: bool) -> Action {
        if !self.has_responded {
            self.take_body(arrived, is_complete);
        }
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if !self.has_responded {
            self.take_body(self.buffered, true);
        }
        Action::Pause
    }
}

/// Returns a header; an empty string if its value is not text.
fn header_str<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(known, _)| known == name)?;
    let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    Some(str::from_utf8(value).ok().filter(|_| is_text).unwrap_or_default())
}
