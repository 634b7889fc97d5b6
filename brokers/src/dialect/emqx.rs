//! EMQX 5 and rmqtt, which read the body of a 200.
//!
//! EMQX 5.8 reads every other status, a reply that is not JSON and a reply without `result` as *ignore*: its next
//! authenticator decides, and the client is refused only if there is none. So the reply to a fault is a plain `deny`,
//! which is final. How EMQX reads each member was measured on 5.8.9; see also its source, `emqx_authn_http.erl`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::emqx_acl::{AclRule, ordered_rules, rules};
use crate::auth_request::{AuthRequest, Parsed};
use crate::emqx_version::EmqxVersion;
use crate::error::RequestError;
use crate::grant::{Access, Grant, UnsupportedGrant};
use crate::parse::client::FieldNames;
use crate::parse::fields::Fields;
use crate::parse::request::{Method, Request};
use crate::parse::topic::template_accesses;
use crate::reply::{ALLOW, AllowReply, DENY, IGNORE, Outcome, Reply};
use crate::warning::ConfigWarning;

const FIELD_NAMES: FieldNames = FieldNames {
    client_id: &["client_id", "clientid"],
    peer_host: &["peerhost", "client_ip"],
    client_id_is_optional: true,
};

pub(crate) fn parse_login(request: &Request) -> Result<Parsed, RequestError> {
    let fields = Fields::parse(request)?;
    let mut warnings = warnings(&fields, &["username", "password"]);
    if looks_like_emqx_4(request) {
        warnings.push(ConfigWarning::LooksLikeEmqx4);
    }
    Ok(Parsed { request: AuthRequest::Authenticate(FIELD_NAMES.credentials(fields)?), warnings })
}

pub(crate) fn parse_action(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::parse(request)?;
    if is_action_of_emqx_4(&fields) {
        return Err(RequestError::Emqx4);
    }
    let warnings = warnings(&fields, &["username"]);
    let accesses = template_accesses(&mut fields)?;
    Ok(Parsed { request: AuthRequest::Authorize(FIELD_NAMES.authorize_request(fields, accesses)?), warnings })
}

/// Whether the fields are those that EMQX 4 sends by default: `access=%A,username=%u,clientid=%c,ipaddr=%a,topic=%t,
/// mountpoint=%m`. EMQX 5 has no mount point there, and rmqtt sends none.
fn is_action_of_emqx_4(fields: &Fields) -> bool {
    fields.has(&["access"]) && fields.has(&["mountpoint"]) && !fields.has(&["action"])
}

/// Whether the sender may be EMQX 4: it sends a form or a query, and no header that it was not told to send. EMQX 5 sends
/// `accept: application/json` by default, and people send a user agent.
fn looks_like_emqx_4(request: &Request) -> bool {
    let is_json = |text: &str| text.contains("json");
    let accepts_json = (request.header)("accept").is_some_and(is_json) || request.media_type().is_some_and(is_json);
    let has_form = request.method == Method::Get || request.media_type().is_some();
    has_form && !accepts_json && (request.header)("user-agent").is_none()
}

/// Warnings for unresolved placeholders, and for what the operator's template lacks of the client id and `names`.
fn warnings(fields: &Fields, names: &[&'static str]) -> Vec<ConfigWarning> {
    let client_id = (!fields.has(FIELD_NAMES.client_id)).then_some("clientid");
    let others = names.iter().copied().filter(|name| !fields.has(&[name]));
    let missing = client_id.into_iter().chain(others).map(ConfigWarning::Missing);
    fields.placeholder_warnings().into_iter().chain(missing).collect()
}

/// The members of the reply for the extensions of a grant, with their values. EMQX ignores a member that its version does
/// not have, and one without a value.
pub(crate) fn overrides<'a>(
    extensions: &[(&str, &'a str)],
    version: Option<EmqxVersion>,
) -> Result<Vec<(&'static str, &'a str)>, UnsupportedGrant> {
    let member = |&(name, value): &(&str, &'a str)| {
        let (member, since) = match name {
            "clientid-override" => ("clientid_override", EmqxVersion::CLIENTID_OVERRIDE),
            "zone-override" => ("zone_override", EmqxVersion::ZONE_OVERRIDE),
            _ => return Err(UnsupportedGrant::UnsupportedExtension),
        };
        let is_applied = version.is_some_and(|version| version >= since) && !value.is_empty();
        if is_applied { Ok((member, value)) } else { Err(UnsupportedGrant::UnsupportedExtension) }
    };
    extensions.iter().map(member).collect()
}

/// The reply that admits a client with all of its grant, whose expiry and rules have been checked.
pub(crate) fn allow_login(grant: &Grant, overrides: &[(&'static str, &str)]) -> Result<AllowReply, UnsupportedGrant> {
    grant.check_attributes()?;
    let rules = match &grant.access {
        Access::Only { publish, subscribe } => Some(rules(publish, subscribe)?),
        Access::Rules(rules) => Some(ordered_rules(rules)?),
        Access::Everything | Access::BrokerRules => None,
    };
    if *grant == Grant::default() {
        return Ok(allow_action());
    }
    let body = AllowBody { grant, rules, overrides };
    let body = serde_json::to_string(&body).map_err(|_| UnsupportedGrant::NotSerializable)?;
    Ok(AllowReply(Reply::json(200, body)))
}

pub(crate) fn allow_action() -> AllowReply {
    AllowReply(Reply::json(200, ALLOW))
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(AllowReply(reply)) => reply,
        Outcome::Deny | Outcome::Error => Reply::json(200, DENY),
        Outcome::Ignore => Reply::json(200, IGNORE),
        // EMQX 4 reads every status 200 as a permission.
        Outcome::Malformed(error @ RequestError::Emqx4) => Reply::error_reply(error.http_status(), error),
        Outcome::Malformed(error) => Reply::error_reply(200, error),
    }
}

/// The body of a reply that admits a client. Members without a value are left out: EMQX treats `null` as a fault.
struct AllowBody<'a> {
    grant: &'a Grant,
    rules: Option<Vec<AclRule<'a>>>,
    overrides: &'a [(&'static str, &'a str)],
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
        for (member, value) in self.overrides {
            body.serialize_entry(member, value)?;
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
