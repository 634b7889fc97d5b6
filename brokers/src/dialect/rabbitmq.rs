//! RabbitMQ's `rabbitmq_auth_backend_http` behind its MQTT plugin: four routes, with the reply `allow` or `deny` as
//! text. Measured on 3.10.8.
//!
//! Only the user route has a password. RabbitMQ uses the others for clients that passed it, and for clients that
//! another backend admitted. They allow no more than a device with that name could do.

use crate::auth_request::{Action, AuthRequest, AuthorizeRequest, Parsed, TopicAccess};
use crate::error::RequestError;
use crate::parse::client::FieldNames;
use crate::parse::fields::Fields;
use crate::parse::request::Request;
use crate::reply::{AllowReply, Outcome, Reply};
use crate::warning::ConfigWarning;

/// The virtual host of the MQTT plugin, by its default `mqtt.vhost`. A client can name another one in its user name
/// unless `ignore_colons_in_username` is set, which only `advanced.config` can do.
const VHOST: &str = "/";

/// The exchange of the MQTT plugin, by its default `mqtt.exchange`.
const EXCHANGE: &str = "amq.topic";

const FIELD_NAMES: FieldNames = FieldNames {
    client_id: &["client_id", "variable_map.client_id"],
    peer_host: &["ip"],
    client_id_is_optional: false,
};

pub(crate) fn parse_user(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::parse(request)?;
    // Without a virtual host here, the vhost route decides about it before the client is admitted.
    if fields.has(&["vhost"]) && !is_device_vhost(&mut fields)? {
        return Ok(denied("vhost"));
    }
    Ok(AuthRequest::Authenticate(FIELD_NAMES.credentials(fields)?).into())
}

pub(crate) fn parse_vhost(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::parse(request)?;
    if !is_device_vhost(&mut fields)? {
        return Ok(denied("vhost"));
    }
    Ok(AuthRequest::Authorize(authorize_request(fields, vhost_probe())?).into())
}

/// May this client use the exchange of all devices, or the queue of its own subscriptions? The topic route decides
/// about what it sends and receives through them.
pub(crate) fn parse_resource(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::parse(request)?;
    let Resource { resource, name, permission } = Resource::take(&mut fields)?;
    if !is_device_vhost(&mut fields)? {
        return Ok(denied("vhost"));
    }
    let request = authorize_request(fields, vhost_probe())?;
    match (resource.as_str(), permission.as_str()) {
        ("exchange", "read" | "write") if name == EXCHANGE => Ok(AuthRequest::Authorize(request).into()),
        ("exchange", "read" | "write") => Ok(denied("name")),
        ("queue", "configure" | "read" | "write") if is_queue_of(&name, &request.client_id) => {
            Ok(AuthRequest::Authorize(request).into())
        }
        _ => Ok(AuthRequest::AlwaysDeny.into()),
    }
}

pub(crate) fn parse_topic(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::parse(request)?;
    let Resource { resource, name, permission } = Resource::take(&mut fields)?;
    let key = fields.text(&["routing_key"])?.ok_or(RequestError::Missing("routing_key"))?;
    let topic = mqtt_topic(&key);
    if !is_device_vhost(&mut fields)? {
        return Ok(denied("vhost"));
    }
    if name != EXCHANGE {
        return Ok(denied("name"));
    }
    let action = match (resource.as_str(), permission.as_str()) {
        // MQTT has no empty topic.
        _ if topic.is_empty() => return Ok(AuthRequest::AlwaysDeny.into()),
        ("topic", "write") => Action::Publish,
        ("topic", "read") => Action::Subscribe,
        _ => return Ok(AuthRequest::AlwaysDeny.into()),
    };
    Ok(AuthRequest::Authorize(authorize_request(fields, vec![TopicAccess::new(action, topic)])?).into())
}

/// A resource that a client wants to use, and the permission for it.
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
    // The variable map repeats fields that stand beside it.
    fields.remove("variable_map.vhost");
    Ok(fields.text(&["vhost"])?.ok_or(RequestError::Missing("vhost"))? == VHOST)
}

fn denied(field: &'static str) -> Parsed {
    Parsed { request: AuthRequest::AlwaysDeny, warnings: vec![ConfigWarning::WrongVhostOrExchange(field)] }
}

/// The client that asks for these accesses. It has a user name: the MQTT plugin admits no client without one.
fn authorize_request(mut fields: Fields, accesses: Vec<TopicAccess>) -> Result<AuthorizeRequest, RequestError> {
    fields.remove("variable_map.username");
    let request = FIELD_NAMES.authorize_request(fields, accesses)?;
    if request.username.is_none() {
        return Err(RequestError::Missing("username"));
    }
    Ok(request)
}

/// The access that asks whether a client with this name may be connected at all.
fn vhost_probe() -> Vec<TopicAccess> {
    vec![TopicAccess::new(Action::ConnectWithoutProof, "")]
}

/// Whether this is the queue of a client's subscriptions, of QoS 0 or 1, or that of its delayed will (RabbitMQ 4 with
/// MQTT 5, `rabbit_mqtt_processor`).
fn is_queue_of(queue: &str, client_id: &str) -> bool {
    if queue.strip_prefix("mqtt-will-") == Some(client_id) {
        return !client_id.is_empty();
    }
    let rest = queue.strip_prefix("mqtt-subscription-");
    let owner = rest.and_then(|rest| rest.strip_suffix("qos0").or_else(|| rest.strip_suffix("qos1")));
    owner == Some(client_id) && !client_id.is_empty()
}

/// The MQTT topic of a routing key. The plugin writes `/` as `.` and `+` as `*`, and does not escape the `.` and `*` of
/// a topic, so that the two cannot be told apart.
fn mqtt_topic(key: &str) -> String {
    let level = |c| match c {
        '.' => '/',
        '*' => '+',
        other => other,
    };
    key.chars().map(level).collect()
}

pub(crate) fn allow() -> AllowReply {
    AllowReply(Reply::text(200, "allow"))
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(AllowReply(reply)) => reply,
        // RabbitMQ has no *ignore*, and logs every status but 200 as an error.
        Outcome::Deny | Outcome::Ignore | Outcome::Error | Outcome::Malformed(_) => Reply::text(200, "deny"),
    }
}
