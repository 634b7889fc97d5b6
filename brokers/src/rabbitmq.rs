//! RabbitMQ's `rabbitmq_auth_backend_http` behind its MQTT plugin: four questions, answered by the text `allow` or
//! `deny`. Measured on 3.10.8.
//!
//! Only the first question holds a password. The others are asked of clients that passed it, and also of clients that
//! another backend let in: they are allowed no more than a device of that name could do.

use crate::grant::Admission;
use crate::members::Members;
use crate::question::{Action, Actions, Asked, Credentials, Question, Spelling, Wanted};
use crate::{Malformed, Outcome, Reply, Request};

/// The exchange of the MQTT plugin, by its default `mqtt.exchange`.
const EXCHANGE: &str = "amq.topic";

const SPELLING: Spelling =
    Spelling { client_id: &["client_id", "variable_map.client_id"], peer_host: &["ip"], id_is_optional: false };

pub(crate) fn read_user(request: &Request) -> Result<Asked, Malformed> {
    let members = Members::read(request)?;
    Ok(Question::Login(Credentials::take(members, &SPELLING)?).into())
}

pub(crate) fn read_vhost(request: &Request) -> Result<Asked, Malformed> {
    Ok(Question::Actions(take_named(Members::read(request)?, Actions::presence())?).into())
}

/// May this client use the exchange of all devices, or the queue of its own subscriptions? What it sends and receives
/// through them is asked on the route for topics.
pub(crate) fn read_resource(request: &Request) -> Result<Asked, Malformed> {
    let mut members = Members::read(request)?;
    let resource = members.text(&["resource"])?.ok_or(Malformed::Missing("resource"))?;
    let name = members.text(&["name"])?.ok_or(Malformed::Missing("name"))?;
    let permission = members.text(&["permission"])?.ok_or(Malformed::Missing("permission"))?;
    let actions = take_named(members, Actions::presence())?;
    let may_ask = match (resource.as_str(), permission.as_str()) {
        ("exchange", "read" | "write") => name == EXCHANGE,
        ("queue", "configure" | "read" | "write") => is_queue_of(&name, &actions.client_id),
        _ => false,
    };
    Ok(if may_ask { Question::Actions(actions) } else { Question::Never }.into())
}

pub(crate) fn read_topic(request: &Request) -> Result<Asked, Malformed> {
    let mut members = Members::read(request)?;
    let resource = members.text(&["resource"])?.ok_or(Malformed::Missing("resource"))?;
    let name = members.text(&["name"])?.ok_or(Malformed::Missing("name"))?;
    let permission = members.text(&["permission"])?.ok_or(Malformed::Missing("permission"))?;
    let key = members.text(&["routing_key"])?.ok_or(Malformed::Missing("routing_key"))?;
    // An empty key is an empty topic, which no client can use.
    let topic = Some(to_mqtt(&key)).filter(|topic| !topic.is_empty()).ok_or(Malformed::Missing("routing_key"))?;
    let action = match permission.as_str() {
        "write" => Action::Publish,
        "read" => Action::Subscribe,
        _ => return Ok(Question::Never.into()),
    };
    if resource != "topic" || name != EXCHANGE {
        return Ok(Question::Never.into());
    }
    Ok(Question::Actions(take_named(members, vec![Wanted { action, topic }])?).into())
}

/// A client that has a user name, as everyone has who passed the first question: the plugin takes nobody without one.
fn take_named(mut members: Members, wanted: Vec<Wanted>) -> Result<Actions, Malformed> {
    // What stands in the variable map says again what stands beside it.
    members.forget("variable_map.username");
    members.forget("variable_map.vhost");
    let actions = Actions::take(members, &SPELLING, wanted)?;
    if actions.username.is_none() {
        return Err(Malformed::Missing("username"));
    }
    Ok(actions)
}

/// Whether this is the queue in which a client's subscriptions wait, of either quality of service.
fn is_queue_of(queue: &str, client_id: &str) -> bool {
    let of = queue.strip_prefix("mqtt-subscription-");
    let of = of.and_then(|rest| rest.strip_suffix("qos0").or_else(|| rest.strip_suffix("qos1")));
    of == Some(client_id) && !client_id.is_empty()
}

/// The MQTT topic of a routing key. The plugin puts `.` for `/` and `*` for `+`, and so cannot tell them apart either.
fn to_mqtt(key: &str) -> String {
    key.chars()
        .map(|c| {
            if c == '.' {
                '/'
            } else if c == '*' {
                '+'
            } else {
                c
            }
        })
        .collect()
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(Admission(reply)) => reply,
        // There is nobody else to ask, and every status but 200 is an error in RabbitMQ's log.
        Outcome::Deny | Outcome::Ignore | Outcome::NoVerdict | Outcome::Malformed(_) => Reply::text(200, "deny"),
    }
}

pub(crate) fn permit() -> Admission {
    Admission(Reply::text(200, "allow"))
}
