//! VerneMQ's webhooks: one address, and a header that names the hook. Always a 200, for another status is an error.
//!
//! `auth_on_register`, `auth_on_publish`, `auth_on_subscribe` and the same of MQTT 5 (`…_m5`). Nothing is to be cached.

use serde_json::Value;

use crate::auth_request::{Action, Actions, Asked, Credentials, Question, Spelling, Wanted};
use crate::grant::Admission;
use crate::parse::fields::Members;
use crate::{Malformed, Outcome, Reply, Request};

const SPELLING: Spelling = Spelling { client_id: &["client_id"], peer_host: &["peer_addr"], id_is_optional: false };

pub(crate) fn read(request: &Request) -> Result<Asked, Malformed> {
    let hook = (request.header)("vernemq-hook").ok_or(Malformed::Missing("the header vernemq-hook"))?;
    let mut members = Members::read(request)?;
    // Nobody sent it.
    members.forget_null();
    Ok(match hook.strip_suffix("_m5").unwrap_or(hook) {
        "auth_on_register" => Question::Login(Credentials::take(members, &SPELLING)?),
        "auth_on_publish" => {
            members.forget("payload");
            let topic = members.text(&["topic"])?.filter(|topic| !topic.is_empty());
            let topic = topic.ok_or(Malformed::Missing("topic"))?;
            Question::Actions(Actions::take(members, &SPELLING, vec![Wanted { action: Action::Publish, topic }])?)
        }
        "auth_on_subscribe" => {
            let wanted = filters(members.json("topics")?.ok_or(Malformed::Missing("topics"))?)?;
            Question::Actions(Actions::take(members, &SPELLING, wanted)?)
        }
        _ => return Err(Malformed::Unknown("the header vernemq-hook")),
    }
    .into())
}

/// The filters of one SUBSCRIBE. At least one.
fn filters(topics: Value) -> Result<Vec<Wanted>, Malformed> {
    let Value::Array(topics) = topics else { return Err(Malformed::NotAList("topics")) };
    let filter = |entry: &Value| match entry.get("topic") {
        Some(Value::String(topic)) if !topic.is_empty() => {
            Ok(Wanted { action: Action::Subscribe, topic: topic.clone() })
        }
        _ => Err(Malformed::NotAList("topics")),
    };
    let wanted: Vec<Wanted> = topics.iter().map(filter).collect::<Result<_, _>>()?;
    if wanted.is_empty() { Err(Malformed::Missing("topics")) } else { Ok(wanted) }
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(Admission(reply)) => reply,
        Outcome::Ignore => Reply::json(200, r#"{"result":"next"}"#),
        Outcome::Deny | Outcome::NoVerdict | Outcome::Malformed(_) => {
            Reply::json(200, r#"{"result":{"error":"not_allowed"}}"#)
        }
    }
}

pub(crate) fn permit() -> Admission {
    Admission(Reply::json(200, r#"{"result":"ok"}"#))
}
