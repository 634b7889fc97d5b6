//! mosquitto-go-auth's HTTP backend, which reads the status or, with `http_response_mode json`, the body as well; one
//! reply serves both. In its mode `text` everything is refused.

use crate::auth_request::{Action, AuthRequest, AuthorizeRequest, Credentials, FieldNames, Parsed, TopicAccess};
use crate::grant::AllowReply;
use crate::parse::fields::Fields;
use crate::{Outcome, Reply, Request, RequestError};

const FIELD_NAMES: FieldNames =
    FieldNames { client_id: &["clientid", "client_id"], peer_host: &[], client_id_is_optional: false };

pub(crate) fn parse_user(request: &Request) -> Result<Parsed, RequestError> {
    Ok(AuthRequest::Authenticate(Credentials::take(Fields::read(request)?, &FIELD_NAMES)?).into())
}

/// Nobody is let past all rules by a user name alone: that is all that is told here. What a superuser may do is allowed
/// topic by topic.
pub(crate) fn parse_superuser(request: &Request) -> Result<Parsed, RequestError> {
    Fields::read(request).map(|_| AuthRequest::AlwaysDeny.into())
}

pub(crate) fn parse_acl(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::read(request)?;
    let topic = fields.text(&["topic"])?.filter(|topic| !topic.is_empty()).ok_or(RequestError::Missing("topic"))?;
    let actions = actions(&fields.scalar("acc")?.ok_or(RequestError::Missing("acc"))?)?;
    let accesses = actions.iter().map(|&action| TopicAccess { action, topic: topic.clone() }).collect();
    Ok(AuthRequest::Authorize(AuthorizeRequest::take(fields, &FIELD_NAMES, accesses)?).into())
}

/// What mosquitto's number for an access stands for: 1 receiving a message, 2 publishing, 3 both, 4 subscribing.
pub(crate) fn actions(acc: &str) -> Result<&'static [Action], RequestError> {
    match acc {
        "1" | "4" => Ok(&[Action::Subscribe]),
        "2" => Ok(&[Action::Publish]),
        "3" => Ok(&[Action::Subscribe, Action::Publish]),
        _ => Err(RequestError::InvalidValue("acc")),
    }
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(AllowReply(reply)) => reply,
        Outcome::Deny | Outcome::Ignore => Reply::json(401, r#"{"Ok":false,"Error":"refused"}"#),
        Outcome::Error => Reply::json(503, r#"{"Ok":false,"Error":"no verdict"}"#),
        Outcome::Malformed(problem) => {
            let error = serde_json::Value::from(problem.to_string());
            Reply::json(problem.http_status(), format!(r#"{{"Ok":false,"Error":{error}}}"#))
        }
    }
}

pub(crate) fn allow_action() -> AllowReply {
    AllowReply(Reply::json(200, r#"{"Ok":true,"Error":""}"#))
}
