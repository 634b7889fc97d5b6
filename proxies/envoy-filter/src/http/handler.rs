//! What a request is answered: the routes, as the native host serves them. Nothing here knows of Envoy.

use std::borrow::Cow;

use auth_core::{Permission, Settings, UnixTime, Verdict};
use brokers::{CROSS_ORIGIN, Errand, Malformed, Method, Mistake, Outcome, Question, Reply, Route, UnfitGrant};

use crate::evaluate;

/// A request that has arrived, or as much of it as is looked at.
pub struct Arrived<'a> {
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
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, but for those that Envoy adds.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Cow<'static, str>,
}

/// What the operator should know of a request.
pub enum Note {
    /// A client is turned away. Its identifier, and why.
    Refused(String, &'static str),
    /// There is a verdict that this broker could not be told as it is meant.
    Unfit(String, UnfitGrant),
    /// The request asks nothing.
    Malformed(Malformed),
    /// The broker's configuration looks wrong.
    Mistake(Mistake),
}

/// Where notes go, with the path of the route that they are about.
pub type Notes<'a> = &'a mut dyn FnMut(&'static str, Note);

/// What notes call every path that is no route.
const ELSEWHERE: &str = "(none)";

const TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");

const STATUS: &str = concat!(
    "mqtt-gate ",
    env!("CARGO_PKG_VERSION"),
    " is running, as a filter in Envoy\npolicy: auth-core, compiled in\nsignature key: set\n"
);

/// Answers a request by the settings, at this moment.
pub fn answer(arrived: &Arrived, settings: &Settings, now: UnixTime, notes: Notes) -> Answer {
    match arrived.errand {
        Errand::Ask(route, method) => {
            let reply = ask(arrived, route, method, settings, now, notes);
            let by_page = route == Route::MqttAuth && (arrived.header)("origin").is_some();
            Answer::of(reply, route).with(if by_page { &CROSS_ORIGIN } else { &[] })
        }
        Errand::Look if arrived.method == "OPTIONS" => Answer::text(204, "", &CROSS_ORIGIN),
        Errand::Look => Answer::text(200, STATUS, &[TEXT]).with(&CROSS_ORIGIN),
        Errand::LikeEmqx => Answer::of(turn_down(Route::EmqxAuth, Malformed::Route, notes), Route::EmqxAuth),
        Errand::Elsewhere => {
            if arrived.method == "POST" {
                notes(ELSEWHERE, Note::Malformed(Malformed::Route));
            }
            Answer::text(404, brokers::no_such_route(), &[TEXT])
        }
    }
}

fn ask(
    arrived: &Arrived,
    route: Route,
    method: Option<Method>,
    settings: &Settings,
    now: UnixTime,
    notes: Notes,
) -> Reply {
    let asked = arrived.body.clone().and_then(|body| {
        let method = method.ok_or(Malformed::Method)?;
        route.read(&brokers::Request { method, query: arrived.query, header: arrived.header, body })
    });
    match asked {
        Ok(asked) => {
            asked.mistakes.into_iter().for_each(|mistake| notes(route.path(), Note::Mistake(mistake)));
            route.render(decide(route, &asked.question, settings, now, notes))
        }
        Err(problem) => turn_down(route, problem, notes),
    }
}

fn turn_down(route: Route, problem: Malformed, notes: Notes) -> Reply {
    let reply = route.render(Outcome::Malformed(&problem));
    notes(route.path(), Note::Malformed(problem));
    reply
}

/// Puts a question to the policy.
fn decide(route: Route, question: &Question, settings: &Settings, now: UnixTime, notes: Notes) -> Outcome<'static> {
    let mut note = |note| notes(route.path(), note);
    let client_id = || question.client_id().to_owned();
    match question {
        Question::Login(who) => match evaluate::login(who, settings, now) {
            Verdict::Allow(grant) => match route.admit(&evaluate::told(grant), now.0) {
                Ok(admission) => Outcome::Allow(admission),
                // The one fault that there can be: it is refused.
                Err(fault) => {
                    note(Note::Unfit(client_id(), fault));
                    Outcome::NoVerdict
                }
            },
            Verdict::Deny(reason) => {
                note(Note::Refused(client_id(), reason.name()));
                Outcome::Deny
            }
        },
        Question::Actions(what) => match evaluate::actions(what, settings) {
            Permission::Allow => Outcome::Allow(route.permit()),
            Permission::Deny => Outcome::Deny,
            Permission::Ignore => {
                if !route.passes_on() {
                    note(Note::Mistake(Mistake::NobodyDecides));
                }
                Outcome::Ignore
            }
        },
        Question::Never => Outcome::Deny,
    }
}

impl Answer {
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

    fn with(mut self, headers: &[(&'static str, &'static str)]) -> Self {
        self.headers.extend(headers);
        self
    }
}

#[cfg(test)]
mod tests;
