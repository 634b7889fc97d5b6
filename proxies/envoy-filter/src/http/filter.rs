//! The HTTP filter: takes a request as it arrives, and has it answered once it is whole.

use std::rc::Rc;

use auth_core::Settings;
use brokers::{Errand, Head, Malformed};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::handler::{Answer, Arrived, Note, answer};
use crate::host_calls;
use crate::log_once::Told;

/// How much of a body that is too large is thrown away. Up to here the connection lives on, because others have requests
/// waiting on it.
const MOST_DISCARDED: usize = 4 << 20;

/// What all requests have in common.
pub(crate) struct Questions {
    settings: Settings,
    most_body: usize,
    told: Told,
}

impl Questions {
    pub(crate) fn new(settings: Settings, most_body: usize) -> Self {
        Self { settings, most_body, told: Told::default() }
    }

    /// Tells the operator: of clients that are refused each time, of what is wrong once.
    fn tell(&self, route: &'static str, note: Note) {
        let (kind, problem, remedy) = match &note {
            Note::Refused(client_id, reason) => {
                return host_calls::inform(&format!(
                    "refused: client_id={} reason={reason} route={route}",
                    host_calls::shown(client_id)
                ));
            }
            Note::Unfit(client_id, fault) => {
                return host_calls::warn(&format!(
                    "refused without a verdict: client_id={} error={fault} route={route}",
                    host_calls::shown(client_id)
                ));
            }
            Note::Malformed(problem) => (problem.kind(), problem.to_string(), problem.remedy()),
            Note::Mistake(mistake) => (mistake.kind(), mistake.to_string(), mistake.remedy()),
        };
        if self.told.is_new(route, kind) {
            host_calls::warn(&format!("{problem} (told once): kind={kind} route={route} remedy={remedy}"));
        }
    }
}

/// One request.
pub(crate) struct Http {
    questions: Rc<Questions>,
    head: Option<Taken>,
    /// How much of the body Envoy keeps.
    kept: usize,
    discarded: usize,
    is_answered: bool,
}

/// The head of a request.
struct Taken {
    headers: Vec<(String, Vec<u8>)>,
    errand: Errand,
}

impl Http {
    pub(crate) fn new(questions: Rc<Questions>) -> Self {
        Self { questions, head: None, kept: 0, discarded: 0, is_answered: false }
    }

    fn answer(&mut self, body: Result<&[u8], Malformed>) {
        if std::mem::replace(&mut self.is_answered, true) {
            return;
        }
        let Some(Taken { headers, errand }) = &self.head else { return };
        let header = |name: &str| text(headers, name);
        let query = header(":path").and_then(|target| target.split_once('?')).map(|(_, query)| query);
        let method = header(":method").unwrap_or_default();
        let arrived = Arrived { errand: *errand, method, query, header: &header, body };
        let questions = &self.questions;
        let answer =
            answer(&arrived, &questions.settings, host_calls::now(), &mut |route, note| questions.tell(route, note));
        let Answer { status, headers, body } = answer;
        host_calls::respond(status, headers, &body);
    }

    /// Takes as much of the body as has arrived.
    fn take_body(&mut self, arrived: usize, is_whole: bool) {
        let limit = self.questions.most_body;
        if self.discarded > 0 || arrived > limit {
            self.kept = 0;
            self.discarded = self.discarded.saturating_add(arrived);
            host_calls::drop_request_body();
            if is_whole || self.discarded > MOST_DISCARDED {
                self.answer(Err(Malformed::TooLarge { limit }));
            }
        } else if is_whole {
            self.answer(Ok(&host_calls::request_body(arrived)));
        } else {
            self.kept = arrived;
        }
    }
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _: usize, is_whole: bool) -> Action {
        let headers = host_calls::request_headers();
        let target = text(&headers, ":path").unwrap_or_default();
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let method = text(&headers, ":method").unwrap_or_default();
        let head = Head { method, path, has_query: query.is_some(), has_body: !is_whole };
        let errand = Errand::of(&head, headers.iter().map(|(name, _)| name.as_str()));
        self.head = Some(Taken { headers, errand });
        if is_whole {
            self.answer(Ok(b""));
        }
        Action::Pause
    }

    fn on_http_request_body(&mut self, arrived: usize, is_whole: bool) -> Action {
        if !self.is_answered {
            self.take_body(arrived, is_whole);
        }
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if !self.is_answered {
            self.take_body(self.kept, true);
        }
        Action::Pause
    }
}

/// A header; the empty text if it is none.
fn text<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(known, _)| known == name)?;
    let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    Some(str::from_utf8(value).ok().filter(|_| is_text).unwrap_or_default())
}
