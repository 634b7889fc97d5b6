//! How each MQTT broker asks who may connect, and how it wants to be answered.
//!
//! A [`Dialect`] is two pure functions: from what an HTTP request holds to the client's [`Credentials`], and from the
//! [`Outcome`] to a [`Reply`]. No reply is right for every broker (NanoMQ lets in on any status 200, EMQX passes a 401
//! on to its next authenticator), so each route speaks one dialect. There is no I/O here, and no part of a request is
//! ever repeated in a reply.

mod credentials;
mod emqx;
mod malformed;
mod request;
mod status;

use std::borrow::Cow;

pub use credentials::Credentials;
pub use malformed::Malformed;
pub use request::{Method, Request};

/// The way one kind of broker asks and is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// By HTTP status: 200 lets in, everything else refuses. For NanoMQ, amqtt, proxies and people with `curl`.
    Status,
    /// By the body of a 200, as EMQX 5 and rmqtt want it: there every other status means "ask the next authenticator".
    Emqx,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The policy lets the client in.
    Allow,
    /// The policy refuses it.
    Deny,
    /// The policy leaves it to another authenticator.
    Ignore,
    /// There is no verdict, by a fault of the policy or of the gate. Never answered as anything but a refusal.
    NoVerdict,
    /// This was not a request for a login.
    Malformed(&'a Malformed),
}

/// An answer, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, always JSON.
    pub body: Cow<'static, str>,
}

impl Reply {
    /// The content type of every reply. EMQX compares it with its letters' case.
    pub const CONTENT_TYPE: &'static str = "application/json";

    const fn fixed(status: u16, body: &'static str) -> Self {
        Self { status, body: Cow::Borrowed(body) }
    }

    /// A refusal that says what was wrong with the request.
    fn complaint(status: u16, problem: &Malformed) -> Self {
        let error = serde_json::Value::from(problem.to_string());
        Self { status, body: Cow::Owned(format!(r#"{{"result":"deny","error":{error}}}"#)) }
    }
}

const ALLOW: &str = r#"{"result":"allow"}"#;
const DENY: &str = r#"{"result":"deny"}"#;
const IGNORE: &str = r#"{"result":"ignore"}"#;

impl Dialect {
    /// Reads the client's credentials out of a request.
    ///
    /// # Errors
    /// What is wrong with the request, if it is not one for a login.
    pub fn parse(self, request: &Request) -> Result<Credentials, Malformed> {
        match self {
            Self::Status | Self::Emqx => credentials::parse(request),
        }
    }

    /// Puts an outcome as this broker understands it.
    #[must_use]
    pub fn render(self, outcome: Outcome) -> Reply {
        match self {
            Self::Status => status::render(outcome),
            Self::Emqx => emqx::render(outcome),
        }
    }
}
