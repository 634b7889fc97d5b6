//! VerneMQ's webhooks: one URL, and a header that names the hook. The status is always 200; VerneMQ treats others as
//! errors.
//!
//! The hooks are `auth_on_register`, `auth_on_publish` and `auth_on_subscribe`, and the same with `_m5` for MQTT 5.
//! Replies have no `cache-control`, so VerneMQ does not cache them.

use serde_json::Value;

use crate::auth_request::{Action, AuthRequest, Parsed, TopicAccess};
use crate::error::RequestError;
use crate::parse::client::FieldNames;
use crate::parse::fields::Fields;
use crate::parse::request::Request;
use crate::parse::topic::{qos, retain, topic};
use crate::reply::{AllowReply, Outcome, Reply};

const FIELD_NAMES: FieldNames =
    FieldNames { client_id: &["client_id"], peer_host: &["peer_addr"], client_id_is_optional: false };

/// The field name that errors about the hook show.
const HOOK: &str = "the header vernemq-hook";

pub(crate) fn parse(request: &Request) -> Result<Parsed, RequestError> {
    let hook = (request.header)("vernemq-hook").ok_or(RequestError::Missing(HOOK))?;
    let mut fields = Fields::parse(request)?;
    fields.remove_nulls();
    let request = match hook.strip_suffix("_m5").unwrap_or(hook) {
        "auth_on_register" => AuthRequest::Authenticate(FIELD_NAMES.credentials(fields)?),
        "auth_on_publish" => {
            fields.remove("payload");
            let (qos, retain) = (qos(&fields), retain(&fields));
            let access = TopicAccess { qos, retain, ..TopicAccess::new(Action::Publish, topic(&mut fields)?) };
            AuthRequest::Authorize(FIELD_NAMES.authorize_request(fields, vec![access])?)
        }
        "auth_on_subscribe" => {
            let accesses = subscriptions(&mut fields)?;
            AuthRequest::Authorize(FIELD_NAMES.authorize_request(fields, accesses)?)
        }
        _ => return Err(RequestError::InvalidValue(HOOK)),
    };
    Ok(request.into())
}

/// The topic filters of one SUBSCRIBE. At least one.
fn subscriptions(fields: &mut Fields) -> Result<Vec<TopicAccess>, RequestError> {
    let topics = fields.array("topics")?.filter(|topics| !topics.is_empty()).ok_or(RequestError::Missing("topics"))?;
    let access = |entry: &Value| match entry.get("topic") {
        Some(Value::String(topic)) if !topic.is_empty() => {
            let qos = entry.get("qos").and_then(Value::as_u64).and_then(|qos| u8::try_from(qos).ok());
            let access = TopicAccess::new(Action::Subscribe, topic.as_str());
            Ok(TopicAccess { qos: qos.filter(|qos| *qos <= 2), ..access })
        }
        _ => Err(RequestError::NotAnArray("topics")),
    };
    topics.iter().map(access).collect()
}

pub(crate) fn allow() -> AllowReply {
    AllowReply(Reply::json(200, r#"{"result":"ok"}"#))
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
