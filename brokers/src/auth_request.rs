//! What a broker asks.

use crate::parse::fields::Fields;
use crate::{ConfigWarning, RequestError};

/// What a request asks, and what its operator should know.
pub struct Parsed {
    /// The question.
    pub request: AuthRequest,
    /// What looks wrong in the broker's configuration. Nothing, as a rule.
    pub warnings: Vec<ConfigWarning>,
}

/// A question to a policy.
pub enum AuthRequest {
    /// May this client connect?
    Authenticate(Credentials),
    /// May this client, which is connected, do these things?
    Authorize(AuthorizeRequest),
    /// May somebody do what nobody may? The policy is not asked.
    AlwaysDeny,
}

impl AuthRequest {
    /// The client that it is about; empty if there is none.
    #[must_use]
    pub fn client_id(&self) -> &str {
        match self {
            Self::Authenticate(who) => &who.client_id,
            Self::Authorize(what) => &what.client_id,
            Self::AlwaysDeny => "",
        }
    }
}

/// What a client sent in its CONNECT packet and what the broker says of its connection. Nobody has verified it.
///
/// It has no `Debug`: it holds a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The client identifier. May be empty.
    pub client_id: String,
    /// The user name; `None` if there is none or an empty one.
    pub username: Option<String>,
    /// The password; `None` if there is none or an empty one. Any bytes.
    pub password: Option<Vec<u8>>,
    /// The client's address without the port.
    pub peer_host: Option<String>,
    /// Every other field of the request, in its order.
    pub attributes: Vec<(String, String)>,
}

/// What a connected client asks to do. The broker vouches for who it is, and gives no proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// The client identifier. May be empty.
    pub client_id: String,
    /// The user name; `None` if there is none or an empty one.
    pub username: Option<String>,
    /// The client's address without the port.
    pub peer_host: Option<String>,
    /// Every other field of the request, in its order.
    pub attributes: Vec<(String, String)>,
    /// What it wants: all of it, or nothing.
    pub accesses: Vec<TopicAccess>,
}

/// One thing that a client wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicAccess {
    /// Which way.
    pub action: Action,
    /// The topic name of a publish, or the topic filter of a subscribe. Empty: the broker asks whether a client of this
    /// name may be connected at all.
    pub topic: String,
}

/// What a client can do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send to it.
    Publish,
    /// Receive from it.
    Subscribe,
}

/// More topics than a SUBSCRIBE of a device has.
const MAX_ACCESSES: usize = 256;

/// How a broker spells the fields of a client.
pub(crate) struct FieldNames {
    pub(crate) client_id: &'static [&'static str],
    pub(crate) peer_host: &'static [&'static str],
    /// Whether there is a question without a client id: for policies that judge by the user name.
    pub(crate) client_id_is_optional: bool,
}

impl FieldNames {
    fn client_id(&self, fields: &mut Fields) -> Result<String, RequestError> {
        match fields.text(self.client_id)? {
            Some(client_id) => Ok(client_id),
            None if self.client_id_is_optional => Ok(String::new()),
            None => Err(RequestError::Missing("client_id")),
        }
    }

    fn peer_host(&self, fields: &mut Fields) -> Result<Option<String>, RequestError> {
        Ok(fields.text(self.peer_host)?.filter(|text| !text.is_empty()))
    }
}

impl Credentials {
    /// Takes the credentials out of the fields.
    pub(crate) fn take(mut fields: Fields, names: &FieldNames) -> Result<Self, RequestError> {
        Ok(Self {
            client_id: names.client_id(&mut fields)?,
            username: username(&mut fields)?,
            password: fields.bytes("password")?.filter(|bytes| !bytes.is_empty()),
            peer_host: names.peer_host(&mut fields)?,
            attributes: fields.into_remaining()?,
        })
    }
}

impl AuthorizeRequest {
    /// Takes the client out of the fields, which wants all of this.
    pub(crate) fn take(
        mut fields: Fields,
        names: &FieldNames,
        accesses: Vec<TopicAccess>,
    ) -> Result<Self, RequestError> {
        if accesses.len() > MAX_ACCESSES {
            return Err(RequestError::TooManyFields { limit: MAX_ACCESSES });
        }
        // A broker that shows the password even here has no reason to, and a policy no use for it.
        fields.remove("password");
        Ok(Self {
            client_id: names.client_id(&mut fields)?,
            username: username(&mut fields)?,
            peer_host: names.peer_host(&mut fields)?,
            attributes: fields.into_remaining()?,
            accesses,
        })
    }

    /// What asks whether a client of this name may be connected at all.
    pub(crate) fn vhost_probe() -> Vec<TopicAccess> {
        vec![TopicAccess { action: Action::Subscribe, topic: String::new() }]
    }
}

fn username(fields: &mut Fields) -> Result<Option<String>, RequestError> {
    Ok(fields.text(&["username"])?.filter(|text| !text.is_empty()))
}

impl From<AuthRequest> for Parsed {
    fn from(request: AuthRequest) -> Self {
        Self { request, warnings: Vec::new() }
    }
}
