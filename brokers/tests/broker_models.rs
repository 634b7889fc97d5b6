//! Models of how brokers read replies, written from measurements of real brokers.

use serde_json::{Map, Value};

/// How a broker reads a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The client is admitted, or the action allowed.
    Allowed,
    /// The denial is final.
    Refused,
    /// The next authenticator or the broker's default decides, which may allow.
    PassedOn,
    /// The broker's code crashes. The effect is that of [`Reading::PassedOn`].
    Crashed,
}

/// A reply, as a broker receives it.
#[derive(Clone, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) body: &'a str,
}

/// The parts of an authentication reply that EMQX 5.8 applies.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) reading: Reading,
    pub(crate) is_superuser: bool,
    pub(crate) expires_at: Option<u64>,
    /// The `client_attrs` that EMQX keeps.
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) rules: Option<Vec<Rule>>,
}

/// One rule of the client's ACL.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) allows: bool,
    pub(crate) action: String,
    pub(crate) topics: Vec<String>,
}

impl From<Reading> for Admitted {
    fn from(reading: Reading) -> Self {
        Self { reading, is_superuser: false, expires_at: None, attributes: Vec::new(), rules: None }
    }
}

/// EMQX 5.8.9, authentication. `now` in seconds since 1970.
pub(crate) fn emqx_authentication(seen: &Seen, now: u64) -> Admitted {
    match seen.status {
        204 => return Reading::Allowed.into(),
        200 => {}
        _ => return Reading::PassedOn.into(),
    }
    let Some(body) = emqx_body(seen) else { return Reading::PassedOn.into() };
    match body.get("result").and_then(Value::as_str) {
        Some("allow") => {}
        Some("deny") => return Reading::Refused.into(),
        _ => return Reading::PassedOn.into(),
    }
    let Some(attributes) = emqx_attributes(&body) else { return Reading::Crashed.into() };
    let expires_at = match body.get("expire_at") {
        None => None,
        Some(end) => match end.as_u64() {
            Some(end) if end >= now && end <= now * 500 => Some(end),
            _ => return Reading::Refused.into(),
        },
    };
    let rules = match body.get("acl") {
        None => None,
        Some(Value::Array(rules)) => match rules.iter().map(emqx_rule).collect::<Option<Vec<_>>>() {
            Some(rules) => Some(rules),
            None => return Reading::Refused.into(),
        },
        Some(_) => return Reading::Crashed.into(),
    };
    let is_superuser = match body.get("is_superuser") {
        Some(Value::Bool(is)) => *is,
        Some(Value::Number(number)) => number.as_i64() != Some(0),
        Some(Value::String(text)) => text == "true" || text.parse().is_ok_and(|number: i64| number != 0),
        _ => false,
    };
    Admitted { reading: Reading::Allowed, is_superuser, expires_at, attributes, rules }
}

/// EMQX 5.8.9, authorization.
pub(crate) fn emqx_authorization(seen: &Seen) -> Reading {
    match seen.status {
        204 => return Reading::Allowed,
        200 => {}
        _ => return Reading::PassedOn,
    }
    match emqx_body(seen).as_ref().and_then(|body| body.get("result")).and_then(Value::as_str) {
        Some("allow") => Reading::Allowed,
        Some("deny") => Reading::Refused,
        _ => Reading::PassedOn,
    }
}

/// The security profile of EMQX 6.2.2 and newer (`EMQX_SECURITY_PROFILE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Legacy,
    Hardened,
}

/// EMQX 6.2.2, authentication. Differs from 5.8.9 only under the hardened profile: a failure is final there.
pub(crate) fn emqx_6_authentication(seen: &Seen, now: u64, profile: Profile) -> Reading {
    let reading = emqx_authentication(seen, now).reading;
    if profile == Profile::Legacy || reading != Reading::PassedOn {
        return reading;
    }
    let result = if seen.status == 200 { emqx_body(seen).map(|body| body.get("result").cloned()) } else { None };
    match result {
        // A body without a result, or one that passes the client on.
        Some(None) => Reading::PassedOn,
        Some(Some(result)) if result == "ignore" => Reading::PassedOn,
        _ => Reading::Refused,
    }
}

/// EMQX 6.2.2, authorization.
pub(crate) fn emqx_6_authorization(seen: &Seen, profile: Profile) -> Reading {
    if seen.status == 200 && seen.content_type.is_none() {
        // Without a content type EMQX reads JSON here, and only here.
        return emqx_6_authorization(&Seen { content_type: Some("application/json"), ..seen.clone() }, profile);
    }
    let reading = emqx_authorization(seen);
    if profile == Profile::Legacy || reading != Reading::PassedOn {
        return reading;
    }
    let result = if seen.status == 200 { emqx_body(seen).and_then(|body| body.get("result").cloned()) } else { None };
    if result.is_some_and(|result| result == "ignore") { Reading::PassedOn } else { Reading::Refused }
}

/// The body, if EMQX can read it. The content type is compared case-sensitively.
fn emqx_body(seen: &Seen) -> Option<Map<String, Value>> {
    let content_type = seen.content_type?;
    if content_type.starts_with("application/json") {
        return serde_json::from_str(seen.body).ok();
    }
    if content_type.starts_with("application/x-www-form-urlencoded") {
        let pairs = seen.body.split('&').filter_map(|pair| pair.split_once('='));
        return Some(pairs.map(|(name, value)| (name.to_owned(), Value::from(value))).collect());
    }
    None
}

/// The attributes that EMQX keeps; it drops those with other names silently. `None` if EMQX crashes.
fn emqx_attributes(body: &Map<String, Value>) -> Option<Vec<(String, String)>> {
    let Some(attributes) = body.get("client_attrs") else { return Some(Vec::new()) };
    let texts = attributes.as_object()?.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let texts: Vec<_> = texts.collect::<Option<_>>()?;
    let is_kept = |name: &str| {
        name.chars().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    Some(texts.into_iter().filter(|(name, _)| is_kept(name)).collect())
}

fn emqx_rule(rule: &Value) -> Option<Rule> {
    let allows = match rule.get("permission")?.as_str()? {
        "allow" => true,
        "deny" => false,
        _ => return None,
    };
    let action = match rule.get("action")?.as_str()? {
        "publish" | "pub" => "publish",
        "subscribe" | "sub" => "subscribe",
        "all" | "pubsub" => "all",
        _ => return None,
    };
    let is_quality = |quality: &str| matches!(quality.trim(), "0" | "1" | "2");
    let qualities = match rule.get("qos") {
        None => true,
        Some(Value::String(text)) => text.split(',').all(is_quality),
        Some(other) => is_quality(&other.to_string()),
    };
    let topics = match (rule.get("topics"), rule.get("topic")) {
        (Some(topics), _) => {
            topics.as_array()?.iter().map(|topic| Some(topic.as_str()?.to_owned())).collect::<Option<_>>()?
        }
        (None, topic) => vec![topic?.as_str()?.to_owned()],
    };
    qualities.then(|| Rule { allows, action: action.to_owned(), topics })
}

impl Admitted {
    /// Whether the client's ACL allows an action. `None` if no rule matches, so that EMQX's authorization decides.
    ///
    /// Versions of EMQX differ in whether a leading wildcard matches topics that begin with `$`.
    pub(crate) fn permits(&self, action: &str, topic: &str, wild_matches_dollar: bool) -> Option<bool> {
        let matches = |filter: &String| match filter.strip_prefix("eq ") {
            Some(exact) => exact == topic,
            None => {
                let is_apart = topic.starts_with('$') && filter.starts_with(['+', '#']) && !wild_matches_dollar;
                let (topic, filter): (Vec<_>, Vec<_>) = (topic.split('/').collect(), filter.split('/').collect());
                !is_apart && emqx_match(&topic, &filter)
            }
        };
        let applies = |rule: &&Rule| (rule.action == action || rule.action == "all") && rule.topics.iter().any(matches);
        self.rules.as_ref()?.iter().find(applies).map(|rule| rule.allows)
    }
}

/// Compares level by level, so that the `+` of a rule matches the `#` of a subscription.
fn emqx_match(topic: &[&str], filter: &[&str]) -> bool {
    match (topic, filter) {
        (_, ["#"]) | ([], []) => true,
        ([_, topic @ ..], ["+", filter @ ..]) => emqx_match(topic, filter),
        ([level, topic @ ..], [other, filter @ ..]) if level == other => emqx_match(topic, filter),
        _ => false,
    }
}

/// rmqttd 0.24.0, authentication and ACL alike. Its default allows, and decides on every reply without a verdict. A
/// success that is not JSON allows too.
pub(crate) fn rmqtt(seen: &Seen) -> Reading {
    if !(200..300).contains(&seen.status) {
        return Reading::PassedOn;
    }
    let body: Option<Value> = serde_json::from_str(seen.body).ok();
    match body.as_ref().and_then(|body| body.get("result")).and_then(Value::as_str) {
        Some("deny") => Reading::Refused,
        Some("ignore") => Reading::PassedOn,
        _ => Reading::Allowed,
    }
}

/// NanoMQ 0.25.3, and Envoy's ext_authz: status 200 allows, whatever the body.
pub(crate) fn nanomq(seen: &Seen) -> Reading {
    if seen.status == 200 { Reading::Allowed } else { Reading::Refused }
}

/// amqtt 0.12.1 in its status mode, as the only plugin.
pub(crate) fn amqtt(seen: &Seen) -> Reading {
    if (200..300).contains(&seen.status) { Reading::Allowed } else { Reading::Refused }
}

/// RabbitMQ 3.10.8, on `/user`: `allow`, with or without tags.
pub(crate) fn rabbitmq_user(seen: &Seen) -> Reading {
    let is_read = seen.status == 200 || seen.status == 201;
    let body = seen.body.to_lowercase();
    if is_read && body.trim().starts_with("allow") { Reading::Allowed } else { Reading::Refused }
}

/// RabbitMQ 3.10.8, on the other paths.
pub(crate) fn rabbitmq(seen: &Seen) -> Reading {
    let is_read = seen.status == 200 || seen.status == 201;
    if is_read && seen.body.trim_matches(' ') == "allow" { Reading::Allowed } else { Reading::Refused }
}

/// mosquitto-go-auth's HTTP backend, with `http_response_mode` status, json or text.
pub(crate) fn mosquitto(seen: &Seen, mode: &str) -> Reading {
    let is_success = (200..300).contains(&seen.status);
    let body: Value = serde_json::from_str(seen.body).unwrap_or_default();
    let ok = body.as_object().and_then(|body| body.iter().find(|(name, _)| name.eq_ignore_ascii_case("ok")));
    let says_so = match mode {
        "json" => ok.is_some_and(|(_, ok)| *ok == Value::Bool(true)),
        "text" => seen.body == "ok",
        _ => true,
    };
    if is_success && says_so { Reading::Allowed } else { Reading::Refused }
}

/// VerneMQ's webhooks. After `next` its other plugins decide. Every unexpected reply is an error, which denies.
pub(crate) fn vernemq(seen: &Seen) -> Reading {
    let body: Value = serde_json::from_str(seen.body).unwrap_or_default();
    match (seen.status, body.get("result").and_then(Value::as_str)) {
        (200, Some("ok")) => Reading::Allowed,
        (200, Some("next")) => Reading::PassedOn,
        _ => Reading::Refused,
    }
}
