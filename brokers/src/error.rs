//! What can be wrong with a request, so that nothing is asked by it.

use std::fmt;

/// Why nothing can be asked by a request. Names fields and never tells what they held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Neither POST nor GET.
    Method,
    /// There is no such route.
    Route,
    /// The gate asks for a secret, and the request does not show it.
    NoSecret,
    /// The gate asks for a secret, and the request shows another one.
    WrongSecret,
    /// It is not HTTP, or its head is too long.
    InvalidHttp,
    /// The body is longer than the gate takes.
    TooLarge {
        /// The most bytes that it takes.
        limit: usize,
    },
    /// There are more fields than the gate takes.
    TooManyFields {
        /// The most that it takes.
        limit: usize,
    },
    /// The body took too long to arrive.
    TooSlow,
    /// The body did not arrive whole.
    Truncated,
    /// The content type is none that the gate reads.
    ContentType,
    /// The content type says form and the body looks like JSON.
    JsonAsForm,
    /// The body is not JSON.
    NotJson,
    /// The body is JSON, and not an object.
    NotAnObject,
    /// There is not one field.
    Empty,
    /// A field without which there is no question is missing.
    Missing(&'static str),
    /// A field that must be text is something else.
    NotText(&'static str),
    /// A field that must be a list of topics is something else.
    NotAnArray(&'static str),
    /// A field is not UTF-8.
    NotUtf8(&'static str),
    /// A field is there twice, so that two readers could see two clients.
    Duplicate(&'static str),
    /// A field holds none of the words that it can hold.
    InvalidValue(&'static str),
    /// A field on which the answer depends holds a literal `${…}`.
    UnresolvedPlaceholder(&'static str),
}

impl RequestError {
    /// The kind of problem, in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Route => "no-such-route",
            Self::NoSecret => "no-secret",
            Self::WrongSecret => "wrong-secret",
            Self::InvalidHttp => "invalid-http",
            Self::TooLarge { .. } => "too-large",
            Self::TooManyFields { .. } => "too-many-fields",
            Self::TooSlow => "too-slow",
            Self::Truncated => "truncated-body",
            Self::ContentType => "content-type",
            Self::JsonAsForm => "json-as-form",
            Self::NotJson => "not-json",
            Self::NotAnObject => "not-an-object",
            Self::Empty => "empty",
            Self::Missing(_) => "missing-field",
            Self::NotText(_) => "not-text",
            Self::NotAnArray(_) => "not-an-array",
            Self::NotUtf8(_) => "not-utf-8",
            Self::Duplicate(_) => "duplicate-field",
            Self::InvalidValue(_) => "invalid-value",
            Self::UnresolvedPlaceholder(_) => "placeholder",
        }
    }

    /// The field that it is about.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Missing(name)
            | Self::NotText(name)
            | Self::NotAnArray(name)
            | Self::NotUtf8(name)
            | Self::Duplicate(name)
            | Self::InvalidValue(name)
            | Self::UnresolvedPlaceholder(name) => Some(name),
            _ => None,
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Method => "have the broker ask by POST, or by GET with a query",
            Self::Route => "mend the address in the broker's configuration; the routes are in the README",
            Self::NoSecret | Self::WrongSecret => {
                "have the broker send the header x-mqtt-gate-secret with the value of access.broker_secret; if no broker of \
                 yours asks here, keep strangers off this port"
            }
            Self::InvalidHttp => {
                "have the broker ask by POST: an address is at most 65,534 bytes, and a user name or password can be longer"
            }
            Self::TooLarge { .. } => {
                "raise limits.max_body, or have the broker send less: VerneMQ leaves payloads out with no_payload = on"
            }
            Self::TooManyFields { .. } => "name fewer fields in the broker's body template",
            Self::TooSlow | Self::Truncated => "look at the network between the broker and the gate",
            Self::ContentType | Self::JsonAsForm | Self::NotJson => {
                "set the request's header content-type to what the body is, without a charset: application/json, \
                 or application/x-www-form-urlencoded"
            }
            Self::NotAnObject => "send a JSON object with the fields of the client",
            Self::Empty => {
                "the broker's body template never reached it: give EMQX its authentication as one variable, \
                 EMQX_AUTHENTICATION='[{…}]', or in a file, because it drops variables for parts of a body"
            }
            Self::Missing(_) => "name this field in the broker's body template",
            Self::NotText(_) | Self::NotAnArray(_) => {
                "quote the placeholder in the broker's body template; amqtt sends null for a client that has none"
            }
            Self::NotUtf8(_) => "only a password may be other bytes than UTF-8, in a form or a query",
            Self::Duplicate(_) => "name each field once, in one spelling and in one place",
            Self::InvalidValue(_) => "use the broker's own placeholder for this field",
            Self::UnresolvedPlaceholder(_) => PLACEHOLDER_HINT,
        }
    }
}

/// What to do about a literal `${…}`.
pub(crate) const PLACEHOLDER_HINT: &str = "if every client has it, the broker does not know the placeholder in this field: mend \
                                          or remove it in the body template; if one client has, it sent this text itself";

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Method => f.write_str("ask by POST, or by GET with a query"),
            Self::Route => f.write_str("no such route"),
            Self::NoSecret => f.write_str("the header x-mqtt-gate-secret is missing"),
            Self::WrongSecret => f.write_str("the header x-mqtt-gate-secret does not hold the secret"),
            Self::InvalidHttp => f.write_str("the head of the request cannot be read"),
            Self::TooLarge { limit } => write!(f, "the body is longer than {limit} bytes"),
            Self::TooManyFields { limit } => write!(f, "there are more than {limit} fields"),
            Self::TooSlow => f.write_str("the body took too long to arrive"),
            Self::Truncated => f.write_str("the body did not arrive whole"),
            Self::ContentType => {
                f.write_str("the content type must be application/json or application/x-www-form-urlencoded")
            }
            Self::JsonAsForm => f.write_str(
                "the content type says form and the body looks like JSON; send it with content-type: application/json",
            ),
            Self::NotJson => f.write_str("the body is not JSON in UTF-8"),
            Self::NotAnObject => f.write_str("the body is not a JSON object"),
            Self::Empty => f.write_str("there is not one field in it"),
            Self::Missing("client_id") => f.write_str("client_id (or clientid) is missing"),
            Self::Missing(name) => write!(f, "{name} is missing"),
            Self::NotText(name) => write!(f, "{name} must be a string"),
            Self::NotAnArray(name) => write!(f, "{name} must be a list of objects with the field topic"),
            Self::NotUtf8(name) => write!(f, "{name} is not UTF-8"),
            Self::Duplicate(name) => write!(f, "{name} is there twice"),
            Self::InvalidValue(name) => write!(f, "{name} is none of the words that it can be"),
            Self::UnresolvedPlaceholder(name) => write!(f, "{name} holds a literal ${{…}}"),
        }
    }
}

impl std::error::Error for RequestError {}
