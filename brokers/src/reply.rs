//! The reply to a broker.

use std::borrow::Cow;

use crate::error::RequestError;

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The policy allows it, and the broker can enforce the grant.
    Allow(AllowReply),
    /// The policy denies it.
    Deny,
    /// The policy leaves it to another authenticator, or to the broker's own rules.
    Ignore,
    /// The call gave no verdict, by a fault of the policy or of the gate. Always a denial.
    Error,
    /// The request could not be evaluated. Always a denial.
    Malformed(&'a RequestError),
}

/// A reply that allows. Holds what a route's `allow_login` or `allow_action` returned: there is no other way to make
/// one, so that no other code path can allow a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowReply(pub(crate) Reply);

/// A reply, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The content type. EMQX compares it case-sensitively.
    pub content_type: &'static str,
    /// The body.
    pub body: Cow<'static, str>,
}

pub(crate) const ALLOW: &str = r#"{"result":"allow"}"#;
pub(crate) const DENY: &str = r#"{"result":"deny"}"#;
pub(crate) const IGNORE: &str = r#"{"result":"ignore"}"#;

impl Reply {
    pub(crate) fn json(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        Self { status, content_type: "application/json", body: body.into() }
    }

    pub(crate) const fn text(status: u16, body: &'static str) -> Self {
        Self { status, content_type: "text/plain", body: Cow::Borrowed(body) }
    }

    /// The reply to a request in no known dialect: a status 4xx, which no broker reads as *allow*.
    #[must_use]
    pub fn unrouted(error: &RequestError) -> Self {
        Self { status: error.http_status(), content_type: "text/plain", body: format!("{error}\n").into() }
    }

    /// A denial that names what is wrong with the request.
    pub(crate) fn error_reply(status: u16, error: &RequestError) -> Self {
        let error = serde_json::Value::from(error.to_string());
        Self::json(status, format!(r#"{{"result":"deny","error":{error}}}"#))
    }
}
