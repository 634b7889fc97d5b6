//! The HTTP filter: takes a request as it arrives, and has it answered once it is whole.

use std::rc::Rc;

use auth_core::Settings;
use brokers::{Errand, Head as RequestHead, Malformed};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::handler::{Event, Request, Response, handle};
use crate::host_calls;
use crate::log_once::LogOnce;

/// How much of a body that is too large is thrown away. Up to here the connection lives on, because others have requests
/// waiting on it.
const MAX_DISCARDED_BODY: usize = 4 << 20;

/// What all requests have in common.
pub(crate) struct HttpFilter {
    settings: Settings,
    max_body: usize,
    logged: LogOnce,
}

impl HttpFilter {
    pub(crate) fn new(settings: Settings, max_body: usize) -> Self {
        Self { settings, max_body, logged: LogOnce::default() }
    }

    /// Tells the operator: of clients that are refused each time, of what is wrong once.
    fn log(&self, route: &'static str, event: Event) {
        let (kind, problem, remedy) = match &event {
            Event::Denied(client_id, reason) => {
                return host_calls::info(&format!(
                    "refused: client_id={} reason={reason} route={route}",
                    host_calls::sanitize(client_id)
                ));
            }
            Event::UnsupportedGrant(client_id, fault) => {
                return host_calls::warn(&format!(
                    "refused without a verdict: client_id={} error={fault} route={route}",
                    host_calls::sanitize(client_id)
                ));
            }
            Event::Malformed(problem) => (problem.kind(), problem.to_string(), problem.remedy()),
            Event::ConfigWarning(mistake) => (mistake.kind(), mistake.to_string(), mistake.remedy()),
        };
        if self.logged.is_first(route, kind) {
            host_calls::warn(&format!("{problem} (logged once): kind={kind} route={route} remedy={remedy}"));
        }
    }
}

/// One request.
pub(crate) struct HttpRequest {
    filter: Rc<HttpFilter>,
    head: Option<Head>,
    /// How much of the body Envoy keeps.
    buffered: usize,
    discarded: usize,
    has_responded: bool,
}

/// The head of a request.
struct Head {
    headers: Vec<(String, Vec<u8>)>,
    errand: Errand,
}

impl HttpRequest {
    pub(crate) fn new(filter: Rc<HttpFilter>) -> Self {
        Self { filter, head: None, buffered: 0, discarded: 0, has_responded: false }
    }

    fn respond(&mut self, body: Result<&[u8], Malformed>) {
        if std::mem::replace(&mut self.has_responded, true) {
            return;
        }
        let Some(Head { headers, errand }) = &self.head else { return };
        let header = |name: &str| header_str(headers, name);
        let query = header(":path").and_then(|target| target.split_once('?')).map(|(_, query)| query);
        let method = header(":method").unwrap_or_default();
        let request = Request { errand: *errand, method, query, header: &header, body };
        let filter = &self.filter;
        let response =
            handle(&request, &filter.settings, host_calls::now(), &mut |route, event| filter.log(route, event));
        let Response { status, headers, body } = response;
        host_calls::send_response(status, headers, &body);
    }

    /// Takes as much of the body as has arrived.
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
        let errand = Errand::of(&head, headers.iter().map(|(name, _)| name.as_str()));
        self.head = Some(Head { headers, errand });
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

/// A header; the empty text if it is none.
fn header_str<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(known, _)| known == name)?;
    let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    Some(str::from_utf8(value).ok().filter(|_| is_text).unwrap_or_default())
}
