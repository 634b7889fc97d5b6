//! What a request is answered: the routes, as the native host serves them. Nothing here knows of Envoy.

use std::borrow::Cow;

use auth_core::{Permission, Settings, UnixTime, Verdict};
use brokers::{CROSS_ORIGIN, Errand, Malformed, Method, Mistake, Outcome, Question, Reply, Route, UnfitGrant};

use crate::evaluate;

/// A request that has request, or as much of it as is looked at.
pub struct Request<'a> {
    /// What it comes for.
    pub errand: Errand,
    /// The method, as it was sent.
    pub method: &'a str,
    /// What follows the `?` of the address.
    pub query: Option<&'a str>,
    /// A header by its name in lower case. One that is not text is the empty text.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The whole body; an error, if there is too much of it.
    pub body: Result<&'a [u8], Malformed>,
}

/// An answer, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers, but for those that Envoy adds.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Cow<'static, str>,
}

/// What the operator should know of a request.
pub enum Event {
    /// A client is turned away. Its identifier, and why.
    Denied(String, &'static str),
    /// There is a verdict that this broker could not be told as it is meant.
    UnsupportedGrant(String, UnfitGrant),
    /// The request asks nothing.
    Malformed(Malformed),
    /// The broker's configuration looks wrong.
    ConfigWarning(Mistake),
}

/// Where events go, with the path of the route that they are about.
pub type EventSink<'a> = &'a mut dyn FnMut(&'static str, Event);

/// What events call every path that is no route.
const UNMATCHED_ROUTE: &str = "(none)";

const PLAIN_TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");

const STATUS_PAGE: &str = concat!(
    "mqtt-gate ",
    env!("CARGO_PKG_VERSION"),
    " is running, as a filter in Envoy\npolicy: auth-core, compiled in\nsignature key: set\n"
);

/// Answers a request by the settings, at this moment.
pub fn handle(request: &Request, settings: &Settings, now: UnixTime, events: EventSink) -> Response {
    match request.errand {
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

fn check(
    request: &Request,
    route: Route,
    method: Option<Method>,
    settings: &Settings,
    now: UnixTime,
    events: EventSink,
) -> Reply {
    let asked = request.body.clone().and_then(|body| {
        let method = method.ok_or(Malformed::Method)?;
        route.read(&brokers::Request { method, query: request.query, header: request.header, body })
    });
    match asked {
        Ok(asked) => {
            asked.mistakes.into_iter().for_each(|mistake| events(route.path(), Event::ConfigWarning(mistake)));
            route.render(evaluate(route, &asked.question, settings, now, events))
        }
        Err(problem) => reject(route, problem, events),
    }
}

fn reject(route: Route, problem: Malformed, events: EventSink) -> Reply {
    let reply = route.render(Outcome::Malformed(&problem));
    events(route.path(), Event::Malformed(problem));
    reply
}

/// Puts a question to the policy.
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
                // The one fault that there can be: it is refused.
                Err(fault) => {
                    report(Event::UnsupportedGrant(client_id(), fault));
                    Outcome::NoVerdict
                }
            },
            Verdict::Deny(reason) => {
                report(Event::Denied(client_id(), reason.name()));
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
