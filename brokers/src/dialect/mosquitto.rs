//! The HTTP backend of mosquitto-go-auth, which reads the status, or the body with `http_response_mode json`. One reply
//! serves both. With the mode `text` every client is refused.

use crate::auth_request::{AuthRequest, Parsed};
use crate::error::RequestError;
use crate::parse::client::FieldNames;
use crate::parse::fields::Fields;
use crate::parse::request::Request;
use crate::parse::topic::acc_accesses;
use crate::reply::{AllowReply, Outcome, Reply};

const FIELD_NAMES: FieldNames =
    FieldNames { client_id: &["clientid", "client_id"], peer_host: &[], client_id_is_optional: false };

pub(crate) fn parse_user(request: &Request) -> Result<Parsed, RequestError> {
    Ok(AuthRequest::Authenticate(FIELD_NAMES.credentials(Fields::parse(request)?)?).into())
}

/// Always denied: the request has a user name and no password. The accesses of superusers are allowed topic by topic.
pub(crate) fn parse_superuser(request: &Request) -> Result<Parsed, RequestError> {
    Fields::parse(request).map(|_| AuthRequest::AlwaysDeny.into())
}

pub(crate) fn parse_acl(request: &Request) -> Result<Parsed, RequestError> {
    let mut fields = Fields::parse(request)?;
    let accesses = acc_accesses(&mut fields)?;
    Ok(AuthRequest::Authorize(FIELD_NAMES.authorize_request(fields, accesses)?).into())
}

pub(crate) fn allow() -> AllowReply {
    AllowReply(Reply::json(200, r#"{"Ok":true,"Error":""}"#))
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(AllowReply(reply)) => reply,
        Outcome::Deny | Outcome::Ignore => Reply::json(401, r#"{"Ok":false,"Error":"refused"}"#),
        Outcome::Error => Reply::json(503, r#"{"Ok":false,"Error":"no verdict"}"#),
        Outcome::Malformed(error) => {
            let text = serde_json::Value::from(error.to_string());
            Reply::json(error.http_status(), format!(r#"{{"Ok":false,"Error":{text}}}"#))
        }
    }
}
