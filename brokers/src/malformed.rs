//! What can be wrong with a request.

use std::fmt;

/// Why a request is not one for a login. Names members and never tells what they held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Neither POST nor GET.
    Method,
    /// The body is longer than the gate takes.
    TooLarge {
        /// The most bytes that it takes.
        limit: usize,
    },
    /// The body took too long to arrive.
    TooSlow,
    /// The body did not arrive whole.
    Cut,
    /// The content type is none that the gate reads.
    ContentType,
    /// The body is not JSON.
    NotJson,
    /// The body is JSON, and not an object.
    NotAnObject,
    /// The client's id is nowhere.
    NoClientId {
        /// The body was read as a form and looks like JSON.
        json_as_form: bool,
    },
    /// A member that must be text is something else.
    NotText(&'static str),
    /// A member is not UTF-8.
    NotUtf8(&'static str),
    /// A member is there twice, so that two readers could see two clients.
    Twice(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Method => f.write_str("ask by POST, or by GET with a query"),
            Self::TooLarge { limit } => write!(f, "the body is longer than {limit} bytes"),
            Self::TooSlow => f.write_str("the body took too long to arrive"),
            Self::Cut => f.write_str("the body did not arrive whole"),
            Self::ContentType => {
                f.write_str("the content type must be application/json or application/x-www-form-urlencoded")
            }
            Self::NotJson => f.write_str("the body is not JSON in UTF-8"),
            Self::NotAnObject => f.write_str("the body is not a JSON object"),
            Self::NoClientId { json_as_form: false } => f.write_str("client_id (or clientid) is missing"),
            Self::NoClientId { json_as_form: true } => f.write_str(
                "client_id is missing: the content type says form and the body looks like JSON; \
                 send it with content-type: application/json",
            ),
            Self::NotText(name) => write!(f, "{name} must be a string"),
            Self::NotUtf8(name) => write!(f, "{name} is not UTF-8"),
            Self::Twice(name) => write!(f, "{name} is there twice"),
        }
    }
}

impl std::error::Error for Malformed {}
