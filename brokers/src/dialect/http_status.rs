//! Verdicts by HTTP status, for NanoMQ, amqtt, proxies and people with `curl`. The same word stands in the body, and the
//! grant, so that an EMQX which asks here keeps to it.

use super::emqx;
use crate::auth_request::{Action, Actions, Asked, Credentials, Question, Spelling, Wanted};
use crate::grant::Admission;
use crate::parse::fields::Members;
use crate::reply::{DENY, IGNORE};
use crate::{Malformed, Mistake, Outcome, Reply, Request};

const SPELLING: Spelling =
    Spelling { client_id: &["client_id", "clientid"], peer_host: &["peerhost", "client_ip"], id_is_optional: false };

pub(crate) fn read_login(request: &Request) -> Result<Asked, Malformed> {
    let members = Members::read(request)?;
    let mistakes = mistakes(request, &members);
    Ok(Asked { question: Question::Login(Credentials::take(members, &SPELLING)?), mistakes })
}

pub(crate) fn read_action(request: &Request) -> Result<Asked, Malformed> {
    let mut members = Members::read(request)?;
    let mistakes = mistakes(request, &members);
    let may_be_list = members.has(&["access"]);
    let mut wanted = emqx::take_wanted(&mut members)?;
    if may_be_list {
        wanted = one_by_one(wanted);
    }
    Ok(Asked { question: Question::Actions(Actions::take(members, &SPELLING, wanted)?), mistakes })
}

/// NanoMQ, which says `access`, sends all filters of a SUBSCRIBE as one, with commas between them. A comma may stand in a
/// filter too: each part has to be allowed, and the whole.
fn one_by_one(wanted: Vec<Wanted>) -> Vec<Wanted> {
    let parts = |one: Wanted| {
        let is_list = one.action == Action::Subscribe && one.topic.contains(',');
        let parts = if is_list {
            one.topic.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        } else {
            Vec::new()
        };
        let action = one.action;
        std::iter::once(one).chain(parts.into_iter().map(move |topic| Wanted { action, topic }))
    };
    wanted.into_iter().flat_map(parts).collect()
}

fn mistakes(request: &Request, members: &Members) -> Vec<Mistake> {
    let mut mistakes = emqx::unfilled(members);
    if emqx::has_default_headers(request) {
        mistakes.push(Mistake::RefusalsNotFinal);
    }
    mistakes
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(Admission(reply)) => reply,
        Outcome::Deny => Reply::json(401, DENY),
        Outcome::Ignore => Reply::json(401, IGNORE),
        Outcome::NoVerdict => Reply::json(503, DENY),
        Outcome::Malformed(problem) => Reply::complaint(of_problem(problem), problem),
    }
}

/// The status that says best what is wrong with a request.
pub(crate) fn of_problem(problem: &Malformed) -> u16 {
    match problem {
        Malformed::NoSecret | Malformed::WrongSecret => 401,
        Malformed::Method => 405,
        Malformed::Route => 404,
        Malformed::TooLarge { .. } => 413,
        Malformed::TooSlow => 408,
        _ => 400,
    }
}
