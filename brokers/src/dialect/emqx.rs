//! Verdicts by the body of a 200, as EMQX 5 reads them, and rmqtt too.
//!
//! EMQX 5.8 takes every other status, a reply that is not JSON and a reply without `result` for *ignore*: its next
//! authenticator decides, and without one the client is refused. So a fault is a plain `deny` here, which is final.
//! What it makes of each field was measured on 5.8.9; see also its source, `emqx_authn_http.erl`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::emqx_acl::{Rule, rules};
use crate::auth_request::{Action, AuthRequest, AuthorizeRequest, Credentials, FieldNames, Parsed, TopicAccess};
use crate::grant::{Access, AllowReply, Grant, UnsupportedGrant};
use crate::parse::fields::Fields;
use crate::reply::{ALLOW, DENY, IGNORE};
use crate::{ConfigWarning, Outcome, Reply, Request, RequestError};

const FIELD_NAMES: FieldNames = FieldNames {
    client_id: &["client_id", "clientid"],
    peer_host: &["peerhost", "client_ip"],
    client_id_is_optional: true,
};

pub(crate) fn parse_login(request: &Request) -> Result<Parsed, RequestError> {
    let fields = Fields::read(request)?;
    let mut warnings = placeholders(&fields);
    warnings.extend(missing(&fields, &["username", "password"]));
    Ok(Parsed { request: AuthRequest::Authenticate(Credentials::take(fields, &FIELD_NAMES)?), warnings })
}

pub(crate) fn parse_action(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::read(request)?;
    let mut warnings = placeholders(&fields);
    warnings.extend(missing(&fields, &["username"]));
    let accesses = take_accesses(&mut fields)?;
    Ok(Parsed { request: AuthRequest::Authorize(AuthorizeRequest::take(fields, &FIELD_NAMES, accesses)?), warnings })
}

/// What the operator's template does not name: the client's id, and these.
fn missing(fields: &Fields, names: &[&'static str]) -> Vec<ConfigWarning> {
    let id = (!fields.has(FIELD_NAMES.client_id)).then_some("clientid");
    let others = names.iter().copied().filter(|name| !fields.has(&[name]));
    id.into_iter().chain(others).map(ConfigWarning::Missing).collect()
}

pub(crate) fn placeholders(fields: &Fields) -> Vec<ConfigWarning> {
    fields.placeholders().map(|name| ConfigWarning::UnresolvedPlaceholder(name.to_owned())).collect()
}

/// What the client wants to do: a topic, and the word or number for which way.
///
/// EMQX fills in `action`; `access` is its older field, which rmqtt has too; `acc` is that of amqtt, as mosquitto
/// counts. A topic that holds `${` is refused: it is a placeholder, or else it has a meaning in EMQX's own rules.
pub(crate) fn take_accesses(fields: &mut Fields) -> Result<Vec<TopicAccess>, RequestError> {
    let topic = fields.text(&["topic"])?.filter(|topic| !topic.is_empty()).ok_or(RequestError::Missing("topic"))?;
    if topic.contains("${") {
        return Err(RequestError::UnresolvedPlaceholder("topic"));
    }
    let named = fields.scalar("action")?.map(|word| match word.as_str() {
        "publish" => Ok(&[Action::Publish][..]),
        "subscribe" => Ok(&[Action::Subscribe][..]),
        _ => Err(RequestError::InvalidValue("action")),
    });
    let numbered = fields.scalar("access")?.map(|number| match number.as_str() {
        "1" => Ok(&[Action::Subscribe][..]),
        "2" => Ok(&[Action::Publish][..]),
        _ => Err(RequestError::InvalidValue("access")),
    });
    let counted = fields.scalar("acc")?.map(|number| super::mosquitto::actions(&number));
    let mut said = [named, numbered, counted].into_iter().flatten();
    let actions = said.next().ok_or(RequestError::Missing("action"))??;
    for other in said {
        if other? != actions {
            return Err(RequestError::Duplicate("action"));
        }
    }
    Ok(actions.iter().map(|&action| TopicAccess { action, topic: topic.clone() }).collect())
}

/// Whether this is EMQX with the headers that it sends when its configuration names none.
pub(crate) fn has_default_headers(request: &Request) -> bool {
    (request.header)("keep-alive") == Some("timeout=30, max=1000")
}

/// The reply that lets a client in with all of its grant, if EMQX would understand it so.
pub(crate) fn allow_login(grant: &Grant, now: u64) -> Result<AllowReply, UnsupportedGrant> {
    grant.check_expiry(now)?;
    grant.check_attributes()?;
    let rules = match &grant.access {
        Access::Only { publish, subscribe } => Some(rules(publish, subscribe)?),
        Access::Everything | Access::BrokerRules => None,
    };
    if *grant == Grant::default() {
        return Ok(AllowReply(Reply::json(200, ALLOW)));
    }
    let body = AllowBody { grant, rules };
    let body = serde_json::to_string(&body).map_err(|_| UnsupportedGrant::NotSerializable)?;
    Ok(AllowReply(Reply::json(200, body)))
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(AllowReply(reply)) => reply,
        Outcome::Deny | Outcome::Error => Reply::json(200, DENY),
        Outcome::Ignore => Reply::json(200, IGNORE),
        Outcome::Malformed(problem) => Reply::error_reply(200, problem),
    }
}

/// The body of an admission. A field that says nothing is left out: EMQX takes `null` for a fault.
struct AllowBody<'a> {
    grant: &'a Grant,
    rules: Option<Vec<Rule<'a>>>,
}

impl Serialize for AllowBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry("result", "allow")?;
        if self.grant.access == Access::Everything {
            body.serialize_entry("is_superuser", &true)?;
        }
        if !self.grant.attributes.is_empty() {
            body.serialize_entry("client_attrs", &Attributes(&self.grant.attributes))?;
        }
        if let Some(end) = self.grant.expires_at {
            body.serialize_entry("expire_at", &end)?;
        }
        if let Some(rules) = &self.rules {
            body.serialize_entry("acl", rules)?;
        }
        body.end()
    }
}

struct Attributes<'a>(&'a [(String, String)]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
