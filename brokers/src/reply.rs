//! What a broker is answered.

use std::borrow::Cow;

use crate::{AllowReply, RequestError};

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The policy allows it, and the broker can be told so.
    Allow(AllowReply),
    /// The policy refuses it.
    Deny,
    /// The policy leaves it to another authenticator, or to the broker's own rules.
    Ignore,
    /// There is no verdict, by a fault of the policy or of the gate. Never answered as anything but a refusal.
    Error,
    /// Nothing was asked.
    Malformed(&'a RequestError),
}

/// An answer, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The content type. EMQX compares it with its letters' case.
    pub content_type: &'static str,
    /// The body.
    pub body: Cow<'static, str>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        Self { status, content_type: "application/json", body: body.into() }
    }

    pub(crate) const fn text(status: u16, body: &'static str) -> Self {
        Self { status, content_type: "text/plain", body: Cow::Borrowed(body) }
    }

    /// A refusal that says what was wrong with the request.
    pub(crate) fn error_reply(status: u16, problem: &RequestError) -> Self {
        let error = serde_json::Value::from(problem.to_string());
        Self::json(status, format!(r#"{{"result":"deny","error":{error}}}"#))
    }
}

pub(crate) const ALLOW: &str = r#"{"result":"allow"}"#;
pub(crate) const DENY: &str = r#"{"result":"deny"}"#;
pub(crate) const IGNORE: &str = r#"{"result":"ignore"}"#;
