//! Answers requests on the same routes as the native host. Independent of Envoy.

use std::borrow::Cow;

use auth_core::{Permission, Settings, UnixTime, Verdict};
use brokers::{CROSS_ORIGIN, Errand, Malformed, Method, Mistake, Outcome, Question, Reply, Route, UnfitGrant};

use crate::evaluate;

/// The parts of a request that the handler reads.
pub struct Request<'a> {
    /// The kind of request, from method, path and headers.
    pub kind: Errand,
    /// The method, as sent.
    pub method: &'a str,
    /// The part of the target after `?`.
    pub query: Option<&'a str>,
    /// Returns a header by its name in lower case; an empty string if its value is not text.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The complete body; an error if it is too large.
    pub body: Result<&'a [u8], Malformed>,
}

/// The response to a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers, without those that Envoy adds.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Cow<'static, str>,
}

/// An event for the operator's log.
pub enum Event {
    /// A login is denied.
    Denied {
        /// The client identifier.
        client_id: String,
        /// The name of the reason.
        reason: &'static str,
    },
    /// A login is denied because the broker cannot express the grant of the policy.
    UnsupportedGrant {
        /// The client identifier.
        client_id: String,
        /// The part that the broker cannot express.
        error: UnfitGrant,
    },
    /// The request is malformed.
    Malformed(Malformed),
    /// The broker's configuration is probably wrong.
    ConfigWarning(Mistake),
}

/// Receives events, each with the path of its route.
pub type EventSink<'a> = &'a mut dyn FnMut(&'static str, Event);

/// The route of events about requests that match no route.
const UNMATCHED_ROUTE: &str = "(none)";

const PLAIN_TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");

const STATUS_PAGE: &str = concat!(
    "mqtt-gate ",
    env!("CARGO_PKG_VERSION"),
    " is running, as a filter in Envoy\npolicy: auth-core, compiled in\nsignature key: set\n"
);

/// Answers a request. `now` is the time of the login.
pub fn handle(request: &Request, settings: &Settings, now: UnixTime, events: EventSink) -> Response {
    match request.kind {
        Errand::Ask(route, method) => {
            let reply = check(request, route, method, settings, now, events);
            let is_cross_origin = route == Route::MqttAuth && (request.header)("origin").is_some();
            Response::of(reply, route).with_headers(if is_cross_origin { &CROSS_ORIGIN } else { &[] })
        }
        Errand::Look if request.method == "OPTIONS" => Response::text(204, "", &CROSS_ORIGIN),
        Errand::Look => Response::text(200, STATUS_PAGE, &[PLAIN_TEXT]).with_headers(&CROSS_ORIGIN),
        Errand::LikeEmqx => Response::of(reject(Route::EmqxAuth, Malformed::Route, events), Route::EmqxAuth),
        Errand::Elsewhere => {
            if request.method == "POST" {
                events(UNMATCHED_ROUTE, Event::Malformed(Malformed::Route));
            }
            Response::text(404, brokers::no_such_route(), &[PLAIN_TEXT])
        }
    }
}

/// Parses the request of a broker, evaluates it and renders the reply.
fn check(
    request: &Request,
    route: Route,
    method: Option<Method>,
    settings: &Settings,
    now: UnixTime,
    events: EventSink,
) -> Reply {
    let parsed = request.body.clone().and_then(|body| {
        let method = method.ok_or(Malformed::Method)?;
        route.read(&brokers::Request { method, query: request.query, header: request.header, body })
    });
    match parsed {
        Ok(parsed) => {
            parsed.mistakes.into_iter().for_each(|warning| events(route.path(), Event::ConfigWarning(warning)));
            route.render(evaluate(route, &parsed.question, settings, now, events))
        }
        Err(error) => reject(route, error, events),
    }
}

/// Answers a malformed request and reports it.
fn reject(route: Route, error: Malformed, events: EventSink) -> Reply {
    let reply = route.render(Outcome::Malformed(&error));
    events(route.path(), Event::Malformed(error));
    reply
}

/// Evaluates a request with the policy.
fn evaluate(
    route: Route,
    question: &Question,
    settings: &Settings,
    now: UnixTime,
    events: EventSink,
) -> Outcome<'static> {
    let mut report = |event| events(route.path(), event);
    let client_id = || question.client_id().to_owned();
    match question {
        Question::Login(credentials) => match evaluate::authenticate(credentials, settings, now) {
            Verdict::Allow(grant) => match route.admit(&evaluate::to_broker_grant(grant), now.0) {
                Ok(admission) => Outcome::Allow(admission),
                // The only fault that can occur. It fails closed.
                Err(error) => {
                    report(Event::UnsupportedGrant { client_id: client_id(), error });
                    Outcome::NoVerdict
                }
            },
            Verdict::Deny(reason) => {
                report(Event::Denied { client_id: client_id(), reason: reason.name() });
                Outcome::Deny
            }
        },
        Question::Actions(request) => match evaluate::authorize(request, settings) {
            Permission::Allow => Outcome::Allow(route.permit()),
            Permission::Deny => Outcome::Deny,
            Permission::Ignore => {
                if !route.passes_on() {
                    report(Event::ConfigWarning(Mistake::NobodyDecides));
                }
                Outcome::Ignore
            }
        },
        Question::Never => Outcome::Deny,
    }
}

impl Response {
    fn of(reply: Reply, route: Route) -> Self {
        let mut headers = vec![("content-type", reply.content_type)];
        if reply.status == 405 {
            headers.push(("allow", route.methods()));
        }
        Self { status: reply.status, headers, body: reply.body }
    }

    fn text(status: u16, body: impl Into<Cow<'static, str>>, headers: &[(&'static str, &'static str)]) -> Self {
        Self { status, headers: headers.to_vec(), body: body.into() }
    }

    fn with_headers(mut self, headers: &[(&'static str, &'static str)]) -> Self {
        self.headers.extend(headers);
        self
    }
}

#[cfg(test)]
mod tests;
