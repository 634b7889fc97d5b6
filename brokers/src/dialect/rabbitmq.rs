//! RabbitMQ's `rabbitmq_auth_backend_http` behind its MQTT plugin: four questions, answered by the text `allow` or
//! `deny`. Measured on 3.10.8.
//!
//! Only the first question holds a password. The others are asked of clients that passed it, and also of clients that
//! another backend let in: they are allowed no more than a device of that name could do.

use crate::auth_request::{Action, Actions, Asked, Credentials, Question, Spelling, Wanted};
use crate::grant::Admission;
use crate::parse::fields::Members;
use crate::{Malformed, Mistake, Outcome, Reply, Request};

/// The virtual host of the MQTT plugin, by its default `mqtt.vhost`. A client can name another one in its user name, unless
/// `ignore_colons_in_username` is set, for which `rabbitmq.conf` has no name.
const VHOST: &str = "/";

/// The exchange of the MQTT plugin, by its default `mqtt.exchange`.
const EXCHANGE: &str = "amq.topic";

const SPELLING: Spelling =
    Spelling { client_id: &["client_id", "variable_map.client_id"], peer_host: &["ip"], id_is_optional: false };

pub(crate) fn read_user(request: &Request) -> Result<Asked, Malformed> {
    let mut members = Members::read(request)?;
    // Asked again, with the virtual host, before anything is let in.
    if members.has(&["vhost"]) && !is_for_devices(&mut members)? {
        return Ok(not_for_devices("vhost"));
    }
    Ok(Question::Login(Credentials::take(members, &SPELLING)?).into())
}

pub(crate) fn read_vhost(request: &Request) -> Result<Asked, Malformed> {
    let mut members = Members::read(request)?;
    if !is_for_devices(&mut members)? {
        return Ok(not_for_devices("vhost"));
    }
    Ok(Question::Actions(take_named(members, Actions::presence())?).into())
}

/// May this client use the exchange of all devices, or the queue of its own subscriptions? What it sends and receives
/// through them is asked on the route for topics.
pub(crate) fn read_resource(request: &Request) -> Result<Asked, Malformed> {
    let mut members = Members::read(request)?;
    let Resource { resource, name, permission } = Resource::take(&mut members)?;
    if !is_for_devices(&mut members)? {
        return Ok(not_for_devices("vhost"));
    }
    let actions = take_named(members, Actions::presence())?;
    match (resource.as_str(), permission.as_str()) {
        ("exchange", "read" | "write") if name == EXCHANGE => Ok(Question::Actions(actions).into()),
        ("exchange", "read" | "write") => Ok(not_for_devices("name")),
        ("queue", "configure" | "read" | "write") if is_queue_of(&name, &actions.client_id) => {
            Ok(Question::Actions(actions).into())
        }
        _ => Ok(Question::Never.into()),
    }
}

pub(crate) fn read_topic(request: &Request) -> Result<Asked, Malformed> {
    let mut members = Members::read(request)?;
    let Resource { resource, name, permission } = Resource::take(&mut members)?;
    let key = members.text(&["routing_key"])?.ok_or(Malformed::Missing("routing_key"))?;
    let topic = to_mqtt(&key);
    if !is_for_devices(&mut members)? {
        return Ok(not_for_devices("vhost"));
    }
    if name != EXCHANGE {
        return Ok(not_for_devices("name"));
    }
    let action = match (resource.as_str(), permission.as_str()) {
        // An empty topic is none that anybody could use, and asks something else.
        _ if topic.is_empty() => return Ok(Question::Never.into()),
        ("topic", "write") => Action::Publish,
        ("topic", "read") => Action::Subscribe,
        _ => return Ok(Question::Never.into()),
    };
    Ok(Question::Actions(take_named(members, vec![Wanted { action, topic }])?).into())
}

/// What a client wants to use, and how.
struct Resource {
    resource: String,
    name: String,
    permission: String,
}

impl Resource {
    fn take(members: &mut Members) -> Result<Self, Malformed> {
        let mut take = |name| members.text(&[name])?.ok_or(Malformed::Missing(name));
        Ok(Self { resource: take("resource")?, name: take("name")?, permission: take("permission")? })
    }
}

fn is_for_devices(members: &mut Members) -> Result<bool, Malformed> {
    // What stands in the variable map says again what stands beside it.
    members.forget("variable_map.vhost");
    Ok(members.text(&["vhost"])?.ok_or(Malformed::Missing("vhost"))? == VHOST)
}

fn not_for_devices(member: &'static str) -> Asked {
    Asked { question: Question::Never, mistakes: vec![Mistake::NotForDevices(member)] }
}

/// A client that has a user name, as everyone has who passed the first question: the plugin takes nobody without one.
fn take_named(mut members: Members, wanted: Vec<Wanted>) -> Result<Actions, Malformed> {
    members.forget("variable_map.username");
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
    let level = |c| match c {
        '.' => '/',
        '*' => '+',
        other => other,
    };
    key.chars().map(level).collect()
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
