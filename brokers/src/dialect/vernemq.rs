//! VerneMQ's webhooks: one address, and a header that names the hook. Always a 200, for another status is an error.
//!
//! `auth_on_register`, `auth_on_publish`, `auth_on_subscribe` and the same of MQTT 5 (`…_m5`). Nothing is to be cached.

use serde_json::Value;

use crate::auth_request::{Action, AuthRequest, AuthorizeRequest, Credentials, FieldNames, Parsed, TopicAccess};
use crate::grant::AllowReply;
use crate::parse::fields::Fields;
use crate::{Outcome, Reply, Request, RequestError};

const FIELD_NAMES: FieldNames =
    FieldNames { client_id: &["client_id"], peer_host: &["peer_addr"], client_id_is_optional: false };

pub(crate) fn parse(request: &Request) -> Result<Parsed, RequestError> {
    let hook = (request.header)("vernemq-hook").ok_or(RequestError::Missing("the header vernemq-hook"))?;
    let mut fields = Fields::read(request)?;
    // Nobody sent it.
    fields.remove_nulls();
    Ok(match hook.strip_suffix("_m5").unwrap_or(hook) {
        "auth_on_register" => AuthRequest::Authenticate(Credentials::take(fields, &FIELD_NAMES)?),
        "auth_on_publish" => {
            fields.remove("payload");
            let topic = fields.text(&["topic"])?.filter(|topic| !topic.is_empty());
            let topic = topic.ok_or(RequestError::Missing("topic"))?;
            AuthRequest::Authorize(AuthorizeRequest::take(
                fields,
                &FIELD_NAMES,
                vec![TopicAccess { action: Action::Publish, topic }],
            )?)
        }
        "auth_on_subscribe" => {
            let accesses = filters(fields.json("topics")?.ok_or(RequestError::Missing("topics"))?)?;
            AuthRequest::Authorize(AuthorizeRequest::take(fields, &FIELD_NAMES, accesses)?)
        }
        _ => return Err(RequestError::InvalidValue("the header vernemq-hook")),
    }
    .into())
}

/// The filters of one SUBSCRIBE. At least one.
fn filters(topics: Value) -> Result<Vec<TopicAccess>, RequestError> {
    let Value::Array(topics) = topics else { return Err(RequestError::NotAnArray("topics")) };
    let filter = |entry: &Value| match entry.get("topic") {
        Some(Value::String(topic)) if !topic.is_empty() => {
            Ok(TopicAccess { action: Action::Subscribe, topic: topic.clone() })
        }
        _ => Err(RequestError::NotAnArray("topics")),
    };
    let accesses: Vec<TopicAccess> = topics.iter().map(filter).collect::<Result<_, _>>()?;
    if accesses.is_empty() { Err(RequestError::Missing("topics")) } else { Ok(accesses) }
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(AllowReply(reply)) => reply,
        Outcome::Ignore => Reply::json(200, r#"{"result":"next"}"#),
        Outcome::Deny | Outcome::Error | Outcome::Malformed(_) => {
            Reply::json(200, r#"{"result":{"error":"not_allowed"}}"#)
        }
    }
}

pub(crate) fn allow_action() -> AllowReply {
    AllowReply(Reply::json(200, r#"{"result":"ok"}"#))
}
