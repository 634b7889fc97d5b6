//! Receives a request from Envoy, and answers it when it is complete.

use std::rc::Rc;

use auth_core::Settings;
use brokers::{HttpRequest, HttpResponse, MAX_DISCARDED_BODY, RequestError, RequestHead, RequestKind, Routes};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::policy::{LinkedPolicy, PolicyEvent};
use crate::host_calls;
use crate::log_once::LogOnce;

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

    /// Logs an event. Each denied login is logged; every other problem of a request is logged once.
    fn log(&self, route: &'static str, event: PolicyEvent) {
        let kind = match event {
            PolicyEvent::Malformed(error) => Some(error.kind()),
            PolicyEvent::Warning(warning) => Some(warning.kind()),
            PolicyEvent::Denied { .. } | PolicyEvent::Error { .. } => None,
        };
        if kind.is_some_and(|kind| !self.logged.is_first(route, kind)) {
            return;
        }
        let line = log_line(route, &event);
        if matches!(event, PolicyEvent::Denied { .. }) { host_calls::info(&line) } else { host_calls::warn(&line) }
    }
}

fn log_line(route: &str, event: &PolicyEvent) -> String {
    let once = |event: &str, kind: &str, problem: &dyn std::fmt::Display, hint: &str| {
        format!("{event} (logged once): route={route} kind={kind} problem=\"{problem}\" hint=\"{hint}\"")
    };
    match event {
        PolicyEvent::Denied { client_id, reason } => {
            let (client_id, reason) = (host_calls::sanitize(client_id), reason.reason().name());
            format!("denied: client_id={client_id} reason={reason} route={route}")
        }
        PolicyEvent::Error { client_id, error } => {
            let client_id = host_calls::sanitize(client_id);
            format!("error: client_id={client_id} reason=unsupported-grant error=\"{error}\" route={route}")
        }
        PolicyEvent::Malformed(error) => once("malformed request", error.kind(), error, error.hint()),
        PolicyEvent::Warning(warning) => once("broker configuration warning", warning.kind(), warning, warning.hint()),
    }
}

/// An HTTP stream: one request and its response.
pub(crate) struct HttpStream {
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
    kind: RequestKind,
}

impl HttpStream {
    pub(crate) fn new(filter: Rc<HttpFilter>) -> Self {
        Self { filter, head: None, buffered: 0, discarded: 0, has_responded: false }
    }

    /// Answers the request, at most once.
    fn respond(&mut self, body: Result<&[u8], RequestError>) {
        if std::mem::replace(&mut self.has_responded, true) {
            return;
        }
        let Some(Head { headers, kind }) = &self.head else { return };
        let header = |name: &str| header_str(headers, name);
        let (_, query) = brokers::split_target(header(":path").unwrap_or_default());
        let method = header(":method").unwrap_or_default();
        let request = HttpRequest { kind: *kind, method, query, header: &header, body };
        let log = |route, event: PolicyEvent| self.filter.log(route, event);
        let policy = LinkedPolicy { settings: &self.filter.settings, now: host_calls::now(), log: &log };
        let HttpResponse { status, headers, body } = brokers::respond(&request, &policy);
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
                self.respond(Err(RequestError::TooLarge { limit }));
            }
        } else if is_complete {
            self.respond(Ok(&host_calls::request_body(arrived)));
        } else {
            self.buffered = arrived;
        }
    }
}

impl Context for HttpStream {}

impl HttpContext for HttpStream {
    fn on_http_request_headers(&mut self, _: usize, is_complete: bool) -> Action {
        let headers = host_calls::request_headers();
        let (path, query) = brokers::split_target(header_str(&headers, ":path").unwrap_or_default());
        let method = header_str(&headers, ":method").unwrap_or_default();
        let head = RequestHead { method, path, has_query: query.is_some(), has_body: !is_complete };
        let kind = RequestKind::of(&head, headers.iter().map(|(name, _)| name.as_str()), &Routes::default());
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
    Some(brokers::header_text(value))
}

#[cfg(test)]
mod tests {
    use auth_core::Denial;
    use brokers::{ConfigWarning, UnsupportedGrant};

    use super::*;

    #[test]
    fn log_lines_name_the_event_and_escape_client_text() {
        let client_id = "a\nb";
        for (event, start) in [
            (
                PolicyEvent::Denied { client_id, reason: Denial::BadSignature },
                "denied: client_id=a\\nb reason=bad-user-name-or-password route=/mqtt/auth",
            ),
            (
                PolicyEvent::Error { client_id, error: UnsupportedGrant::InvalidFilter },
                "error: client_id=a\\nb reason=unsupported-grant error=\"",
            ),
            (
                PolicyEvent::Malformed(&RequestError::Empty),
                "malformed request (logged once): route=/mqtt/auth kind=empty problem=\"",
            ),
            (
                PolicyEvent::Warning(&ConfigWarning::NoFallbackRules),
                "broker configuration warning (logged once): route=/mqtt/auth kind=no-fallback-rules problem=\"",
            ),
        ] {
            let line = log_line("/mqtt/auth", &event);
            assert!(line.starts_with(start) && !line.contains('\n'), "{line}");
        }
    }
}
