//! Verdicts by HTTP status, for NanoMQ, amqtt, proxies and people with `curl`. The same word stands in the body, and the
//! grant, so that an EMQX which asks here keeps to it.

use super::emqx;
use crate::auth_request::{Action, AuthRequest, AuthorizeRequest, Credentials, FieldNames, Parsed, TopicAccess};
use crate::grant::AllowReply;
use crate::parse::fields::Fields;
use crate::reply::{DENY, IGNORE};
use crate::{ConfigWarning, Outcome, Reply, Request, RequestError};

const FIELD_NAMES: FieldNames = FieldNames {
    client_id: &["client_id", "clientid"],
    peer_host: &["peerhost", "client_ip"],
    client_id_is_optional: false,
};

pub(crate) fn parse_login(request: &Request) -> Result<Parsed, RequestError> {
    let fields = Fields::read(request)?;
    let warnings = warnings(request, &fields);
    Ok(Parsed { request: AuthRequest::Authenticate(Credentials::take(fields, &FIELD_NAMES)?), warnings })
}

pub(crate) fn parse_action(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::read(request)?;
    let warnings = warnings(request, &fields);
    let may_be_list = fields.has(&["access"]);
    let mut accesses = emqx::take_accesses(&mut fields)?;
    if may_be_list {
        accesses = one_by_one(accesses);
    }
    Ok(Parsed { request: AuthRequest::Authorize(AuthorizeRequest::take(fields, &FIELD_NAMES, accesses)?), warnings })
}

/// NanoMQ, which says `access`, sends all filters of a SUBSCRIBE as one, with commas between them. A comma may stand in a
/// filter too: each part has to be allowed, and the whole.
fn one_by_one(accesses: Vec<TopicAccess>) -> Vec<TopicAccess> {
    let parts = |one: TopicAccess| {
        let is_list = one.action == Action::Subscribe && one.topic.contains(',');
        let parts = if is_list {
            one.topic.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        } else {
            Vec::new()
        };
        let action = one.action;
        std::iter::once(one).chain(parts.into_iter().map(move |topic| TopicAccess { action, topic }))
    };
    accesses.into_iter().flat_map(parts).collect()
}

fn warnings(request: &Request, fields: &Fields) -> Vec<ConfigWarning> {
    let mut warnings = emqx::placeholders(fields);
    if emqx::has_default_headers(request) {
        warnings.push(ConfigWarning::EmqxOnStatusRoute);
    }
    warnings
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(AllowReply(reply)) => reply,
        Outcome::Deny => Reply::json(401, DENY),
        Outcome::Ignore => Reply::json(401, IGNORE),
        Outcome::Error => Reply::json(503, DENY),
        Outcome::Malformed(problem) => Reply::error_reply(problem.http_status(), problem),
    }
}
