//! RabbitMQ's `rabbitmq_auth_backend_http` behind its MQTT plugin: four questions, answered by the text `allow` or
//! `deny`. Measured on 3.10.8.
//!
//! Only the first question holds a password. The others are asked of clients that passed it, and also of clients that
//! another backend let in: they are allowed no more than a device of that name could do.

use crate::auth_request::{Action, AuthRequest, AuthorizeRequest, Credentials, FieldNames, Parsed, TopicAccess};
use crate::grant::AllowReply;
use crate::parse::fields::Fields;
use crate::{ConfigWarning, Outcome, Reply, Request, RequestError};

/// The virtual host of the MQTT plugin, by its default `mqtt.vhost`. A client can name another one in its user name, unless
/// `ignore_colons_in_username` is set, for which `rabbitmq.conf` has no name.
const VHOST: &str = "/";

/// The exchange of the MQTT plugin, by its default `mqtt.exchange`.
const EXCHANGE: &str = "amq.topic";

const FIELD_NAMES: FieldNames = FieldNames {
    client_id: &["client_id", "variable_map.client_id"],
    peer_host: &["ip"],
    client_id_is_optional: false,
};

pub(crate) fn parse_user(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::read(request)?;
    // Parsed again, with the virtual host, before anything is let in.
    if fields.has(&["vhost"]) && !is_device_vhost(&mut fields)? {
        return Ok(wrong_vhost_or_exchange("vhost"));
    }
    Ok(AuthRequest::Authenticate(Credentials::take(fields, &FIELD_NAMES)?).into())
}

pub(crate) fn parse_vhost(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::read(request)?;
    if !is_device_vhost(&mut fields)? {
        return Ok(wrong_vhost_or_exchange("vhost"));
    }
    Ok(AuthRequest::Authorize(take_with_username(fields, AuthorizeRequest::vhost_probe())?).into())
}

/// May this client use the exchange of all devices, or the queue of its own subscriptions? What it sends and receives
/// through them is asked on the route for topics.
pub(crate) fn parse_resource(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::read(request)?;
    let Resource { resource, name, permission } = Resource::take(&mut fields)?;
    if !is_device_vhost(&mut fields)? {
        return Ok(wrong_vhost_or_exchange("vhost"));
    }
    let actions = take_with_username(fields, AuthorizeRequest::vhost_probe())?;
    match (resource.as_str(), permission.as_str()) {
        ("exchange", "read" | "write") if name == EXCHANGE => Ok(AuthRequest::Authorize(actions).into()),
        ("exchange", "read" | "write") => Ok(wrong_vhost_or_exchange("name")),
        ("queue", "configure" | "read" | "write") if is_queue_of(&name, &actions.client_id) => {
            Ok(AuthRequest::Authorize(actions).into())
        }
        _ => Ok(AuthRequest::AlwaysDeny.into()),
    }
}

pub(crate) fn parse_topic(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::read(request)?;
    let Resource { resource, name, permission } = Resource::take(&mut fields)?;
    let key = fields.text(&["routing_key"])?.ok_or(RequestError::Missing("routing_key"))?;
    let topic = to_mqtt(&key);
    if !is_device_vhost(&mut fields)? {
        return Ok(wrong_vhost_or_exchange("vhost"));
    }
    if name != EXCHANGE {
        return Ok(wrong_vhost_or_exchange("name"));
    }
    let action = match (resource.as_str(), permission.as_str()) {
        // An empty topic is none that anybody could use, and asks something else.
        _ if topic.is_empty() => return Ok(AuthRequest::AlwaysDeny.into()),
        ("topic", "write") => Action::Publish,
        ("topic", "read") => Action::Subscribe,
        _ => return Ok(AuthRequest::AlwaysDeny.into()),
    };
    Ok(AuthRequest::Authorize(take_with_username(fields, vec![TopicAccess { action, topic }])?).into())
}

/// What a client wants to use, and how.
struct Resource {
    resource: String,
    name: String,
    permission: String,
}

impl Resource {
    fn take(fields: &mut Fields) -> Result<Self, RequestError> {
        let mut take = |name| fields.text(&[name])?.ok_or(RequestError::Missing(name));
        Ok(Self { resource: take("resource")?, name: take("name")?, permission: take("permission")? })
    }
}

fn is_device_vhost(fields: &mut Fields) -> Result<bool, RequestError> {
    // What stands in the variable map says again what stands beside it.
    fields.remove("variable_map.vhost");
    Ok(fields.text(&["vhost"])?.ok_or(RequestError::Missing("vhost"))? == VHOST)
}

fn wrong_vhost_or_exchange(field: &'static str) -> Parsed {
    Parsed { request: AuthRequest::AlwaysDeny, warnings: vec![ConfigWarning::WrongVhostOrExchange(field)] }
}

/// A client that has a user name, as everyone has who passed the first request: the plugin takes nobody without one.
fn take_with_username(mut fields: Fields, accesses: Vec<TopicAccess>) -> Result<AuthorizeRequest, RequestError> {
    fields.remove("variable_map.username");
    let actions = AuthorizeRequest::take(fields, &FIELD_NAMES, accesses)?;
    if actions.username.is_none() {
        return Err(RequestError::Missing("username"));
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
        Outcome::Allow(AllowReply(reply)) => reply,
        // There is nobody else to ask, and every status but 200 is an error in RabbitMQ's log.
        Outcome::Deny | Outcome::Ignore | Outcome::Error | Outcome::Malformed(_) => Reply::text(200, "deny"),
    }
}

pub(crate) fn allow_action() -> AllowReply {
    AllowReply(Reply::text(200, "allow"))
}
