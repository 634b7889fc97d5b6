//! Brokers and proxies that read the HTTP status: NanoMQ, amqtt, Envoy's `ext_authz`, and people with `curl`.
//!
//! The body repeats the verdict and has the grant, so that an EMQX on this route enforces the grant.

use crate::auth_request::{Action, AuthRequest, Parsed, TopicAccess};
use crate::error::RequestError;
use crate::parse::client::FieldNames;
use crate::parse::fields::Fields;
use crate::parse::request::Request;
use crate::parse::topic::template_accesses;
use crate::reply::{AllowReply, DENY, IGNORE, Outcome, Reply};
use crate::warning::ConfigWarning;

const FIELD_NAMES: FieldNames = FieldNames {
    client_id: &["client_id", "clientid"],
    peer_host: &["peerhost", "client_ip"],
    client_id_is_optional: false,
};

pub(crate) fn parse_login(request: &Request) -> Result<Parsed, RequestError> {
    let fields = Fields::parse(request)?;
    let warnings = warnings(request, &fields);
    Ok(Parsed { request: AuthRequest::Authenticate(FIELD_NAMES.credentials(fields)?), warnings })
}

pub(crate) fn parse_action(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::parse(request)?;
    let warnings = warnings(request, &fields);
    let accesses = split_lists(template_accesses(&mut fields)?);
    Ok(Parsed { request: AuthRequest::Authorize(FIELD_NAMES.authorize_request(fields, accesses)?), warnings })
}

/// Adds the parts of a topic with commas. NanoMQ sends all filters of a SUBSCRIBE as one topic with commas between
/// them, but a comma can also be part of a filter. So every part must be allowed, and the whole.
fn split_lists(accesses: Vec<TopicAccess>) -> Vec<TopicAccess> {
    let mut all = Vec::with_capacity(accesses.len());
    for access in accesses {
        let parts: Vec<TopicAccess> = match access.action {
            Action::Subscribe if access.topic.contains(',') => {
                let parts = access.topic.split(',').filter(|part| !part.is_empty());
                parts.map(|topic| TopicAccess { topic: topic.to_owned(), ..access.clone() }).collect()
            }
            _ => Vec::new(),
        };
        all.push(access);
        all.extend(parts);
    }
    all
}

fn warnings(request: &Request, fields: &Fields) -> Vec<ConfigWarning> {
    let mut warnings = fields.placeholder_warnings();
    if has_emqx_default_headers(request) {
        warnings.push(ConfigWarning::EmqxOnStatusRoute);
    }
    warnings
}

/// Whether the sender is an EMQX whose configuration names no headers.
fn has_emqx_default_headers(request: &Request) -> bool {
    (request.header)("keep-alive") == Some("timeout=30, max=1000")
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(AllowReply(reply)) => reply,
        Outcome::Deny => Reply::json(401, DENY),
        Outcome::Ignore => Reply::json(401, IGNORE),
        Outcome::Error => Reply::json(503, DENY),
        Outcome::Malformed(error) => Reply::error_reply(error.http_status(), error),
    }
}
