//! mosquitto-go-auth's HTTP backend, which reads the status or, with `http_response_mode json`, the body as well; one
//! reply serves both. In its mode `text` everything is refused.

use super::http_status;
use crate::auth_request::{Action, Actions, Asked, Credentials, Question, Spelling, Wanted};
use crate::grant::Admission;
use crate::parse::fields::Members;
use crate::{Malformed, Outcome, Reply, Request};

const SPELLING: Spelling = Spelling { client_id: &["clientid", "client_id"], peer_host: &[], id_is_optional: false };

pub(crate) fn read_user(request: &Request) -> Result<Asked, Malformed> {
    Ok(Question::Login(Credentials::take(Members::read(request)?, &SPELLING)?).into())
}

/// Nobody is let past all rules by a user name alone: that is all that is told here. What a superuser may do is allowed
/// topic by topic.
pub(crate) fn read_superuser(request: &Request) -> Result<Asked, Malformed> {
    Members::read(request).map(|_| Question::Never.into())
}

pub(crate) fn read_acl(request: &Request) -> Result<Asked, Malformed> {
    let mut members = Members::read(request)?;
    let topic = members.text(&["topic"])?.filter(|topic| !topic.is_empty()).ok_or(Malformed::Missing("topic"))?;
    let actions = actions(&members.word("acc")?.ok_or(Malformed::Missing("acc"))?)?;
    let wanted = actions.iter().map(|&action| Wanted { action, topic: topic.clone() }).collect();
    Ok(Question::Actions(Actions::take(members, &SPELLING, wanted)?).into())
}

/// What mosquitto's number for an access stands for: 1 receiving a message, 2 publishing, 3 both, 4 subscribing.
pub(crate) fn actions(acc: &str) -> Result<&'static [Action], Malformed> {
    match acc {
        "1" | "4" => Ok(&[Action::Subscribe]),
        "2" => Ok(&[Action::Publish]),
        "3" => Ok(&[Action::Subscribe, Action::Publish]),
        _ => Err(Malformed::Unknown("acc")),
    }
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(Admission(reply)) => reply,
        Outcome::Deny | Outcome::Ignore => Reply::json(401, r#"{"Ok":false,"Error":"refused"}"#),
        Outcome::NoVerdict => Reply::json(503, r#"{"Ok":false,"Error":"no verdict"}"#),
        Outcome::Malformed(problem) => {
            let error = serde_json::Value::from(problem.to_string());
            Reply::json(http_status::of_problem(problem), format!(r#"{{"Ok":false,"Error":{error}}}"#))
        }
    }
}

pub(crate) fn permit() -> Admission {
    Admission(Reply::json(200, r#"{"Ok":true,"Error":""}"#))
}
