//! What can be wrong with a request, so that nothing is asked by it.

use std::fmt;

/// Why nothing can be asked by a request. Names members and never tells what they held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Neither POST nor GET.
    Method,
    /// There is no such route.
    Route,
    /// The gate asks for a secret, and the request does not show it.
    NoSecret,
    /// The gate asks for a secret, and the request shows another one.
    WrongSecret,
    /// It is not HTTP, or its head is too long.
    Unreadable,
    /// The body is longer than the gate takes.
    TooLarge {
        /// The most bytes that it takes.
        limit: usize,
    },
    /// There are more members than the gate takes.
    TooMany {
        /// The most that it takes.
        limit: usize,
    },
    /// The body took too long to arrive.
    TooSlow,
    /// The body did not arrive whole.
    Cut,
    /// The content type is none that the gate reads.
    ContentType,
    /// The content type says form and the body looks like JSON.
    JsonAsForm,
    /// The body is not JSON.
    NotJson,
    /// The body is JSON, and not an object.
    NotAnObject,
    /// There is not one member.
    Empty,
    /// A member without which there is no question is missing.
    Missing(&'static str),
    /// A member that must be text is something else.
    NotText(&'static str),
    /// A member that must be a list of topics is something else.
    NotAList(&'static str),
    /// A member is not UTF-8.
    NotUtf8(&'static str),
    /// A member is there twice, so that two readers could see two clients.
    Twice(&'static str),
    /// A member holds none of the words that it can hold.
    Unknown(&'static str),
    /// A member on which the answer depends holds a literal `${…}`.
    Unfilled(&'static str),
}

impl Malformed {
    /// The kind of problem, in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Route => "no-such-route",
            Self::NoSecret => "no-secret",
            Self::WrongSecret => "wrong-secret",
            Self::Unreadable => "unreadable",
            Self::TooLarge { .. } => "too-large",
            Self::TooMany { .. } => "too-many-members",
            Self::TooSlow => "too-slow",
            Self::Cut => "cut",
            Self::ContentType => "content-type",
            Self::JsonAsForm => "json-as-form",
            Self::NotJson => "not-json",
            Self::NotAnObject => "not-an-object",
            Self::Empty => "empty",
            Self::Missing(_) => "missing-member",
            Self::NotText(_) | Self::NotAList(_) => "not-text",
            Self::NotUtf8(_) => "not-utf-8",
            Self::Twice(_) => "member-twice",
            Self::Unknown(_) => "unknown-word",
            Self::Unfilled(_) => "placeholder",
        }
    }

    /// The member that it is about.
    #[must_use]
    pub fn member(&self) -> Option<&'static str> {
        match self {
            Self::Missing(name)
            | Self::NotText(name)
            | Self::NotAList(name)
            | Self::NotUtf8(name)
            | Self::Twice(name)
            | Self::Unknown(name)
            | Self::Unfilled(name) => Some(name),
            _ => None,
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Method => "have the broker ask by POST, or by GET with a query",
            Self::Route => "mend the address in the broker's configuration; the routes are in the README",
            Self::NoSecret | Self::WrongSecret => {
                "have the broker send the header x-mqtt-gate-secret with the value of access.broker_secret; if no broker of \
                 yours asks here, keep strangers off this port"
            }
            Self::Unreadable => {
                "have the broker ask by POST: an address is at most 65,534 bytes, and a user name or password can be longer"
            }
            Self::TooLarge { .. } => {
                "raise limits.body, or have the broker send less: VerneMQ leaves payloads out with no_payload = on"
            }
            Self::TooMany { .. } => "name fewer members in the broker's body template",
            Self::TooSlow | Self::Cut => "look at the network between the broker and the gate",
            Self::ContentType | Self::JsonAsForm | Self::NotJson => {
                "set the request's header content-type to what the body is, without a charset: application/json, \
                 or application/x-www-form-urlencoded"
            }
            Self::NotAnObject => "send a JSON object with the members of the client",
            Self::Empty => {
                "the broker's body template never reached it: give EMQX its authentication as one variable, \
                 EMQX_AUTHENTICATION='[{…}]', or in a file, because it drops variables for parts of a body"
            }
            Self::Missing(_) => "name this member in the broker's body template",
            Self::NotText(_) | Self::NotAList(_) => {
                "quote the placeholder in the broker's body template; amqtt sends null for a client that has none"
            }
            Self::NotUtf8(_) => "only a password may be other bytes than UTF-8, in a form or a query",
            Self::Twice(_) => "name each member once, in one spelling and in one place",
            Self::Unknown(_) => "use the broker's own placeholder for this member",
            Self::Unfilled(_) => UNFILLED_REMEDY,
        }
    }
}

/// What to do about a literal `${…}`.
pub(crate) const UNFILLED_REMEDY: &str = "if every client has it, the broker does not know the placeholder in this member: mend \
                                          or remove it in the body template; if one client has, it sent this text itself";

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Method => f.write_str("ask by POST, or by GET with a query"),
            Self::Route => f.write_str("no such route"),
            Self::NoSecret => f.write_str("the header x-mqtt-gate-secret is missing"),
            Self::WrongSecret => f.write_str("the header x-mqtt-gate-secret does not hold the secret"),
            Self::Unreadable => f.write_str("the head of the request cannot be read"),
            Self::TooLarge { limit } => write!(f, "the body is longer than {limit} bytes"),
            Self::TooMany { limit } => write!(f, "there are more than {limit} members"),
            Self::TooSlow => f.write_str("the body took too long to arrive"),
            Self::Cut => f.write_str("the body did not arrive whole"),
            Self::ContentType => {
                f.write_str("the content type must be application/json or application/x-www-form-urlencoded")
            }
            Self::JsonAsForm => f.write_str(
                "the content type says form and the body looks like JSON; send it with content-type: application/json",
            ),
            Self::NotJson => f.write_str("the body is not JSON in UTF-8"),
            Self::NotAnObject => f.write_str("the body is not a JSON object"),
            Self::Empty => f.write_str("there is not one member in it"),
            Self::Missing("client_id") => f.write_str("client_id (or clientid) is missing"),
            Self::Missing(name) => write!(f, "{name} is missing"),
            Self::NotText(name) => write!(f, "{name} must be a string"),
            Self::NotAList(name) => write!(f, "{name} must be a list of objects with the member topic"),
            Self::NotUtf8(name) => write!(f, "{name} is not UTF-8"),
            Self::Twice(name) => write!(f, "{name} is there twice"),
            Self::Unknown(name) => write!(f, "{name} is none of the words that it can be"),
            Self::Unfilled(name) => write!(f, "{name} holds a literal ${{…}}"),
        }
    }
}

impl std::error::Error for Malformed {}
