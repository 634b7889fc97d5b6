//! What a broker asks.

use crate::parse::fields::Members;
use crate::{Malformed, Mistake};

/// What a request asks, and what its operator should know.
pub struct Asked {
    /// The question.
    pub question: Question,
    /// What looks wrong in the broker's configuration. Nothing, as a rule.
    pub mistakes: Vec<Mistake>,
}

/// A question to a policy.
pub enum Question {
    /// May this client connect?
    Login(Credentials),
    /// May this client, which is connected, do these things?
    Actions(Actions),
    /// May somebody do what nobody may? The policy is not asked.
    Never,
}

impl Question {
    /// The client that it is about; empty if there is none.
    #[must_use]
    pub fn client_id(&self) -> &str {
        match self {
            Self::Login(who) => &who.client_id,
            Self::Actions(what) => &what.client_id,
            Self::Never => "",
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
    /// Every other member of the request, in its order.
    pub attributes: Vec<(String, String)>,
}

/// What a connected client asks to do. The broker vouches for who it is, and gives no proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// The client identifier. May be empty.
    pub client_id: String,
    /// The user name; `None` if there is none or an empty one.
    pub username: Option<String>,
    /// The client's address without the port.
    pub peer_host: Option<String>,
    /// Every other member of the request, in its order.
    pub attributes: Vec<(String, String)>,
    /// What it wants: all of it, or nothing.
    pub wanted: Vec<Wanted>,
}

/// One thing that a client wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
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
const MOST_WANTED: usize = 256;

/// How a broker spells the members of a client.
pub(crate) struct Spelling {
    pub(crate) client_id: &'static [&'static str],
    pub(crate) peer_host: &'static [&'static str],
    /// Whether there is a question without a client id: for policies that judge by the user name.
    pub(crate) id_is_optional: bool,
}

impl Spelling {
    fn client_id(&self, members: &mut Members) -> Result<String, Malformed> {
        match members.text(self.client_id)? {
            Some(client_id) => Ok(client_id),
            None if self.id_is_optional => Ok(String::new()),
            None => Err(Malformed::Missing("client_id")),
        }
    }

    fn peer_host(&self, members: &mut Members) -> Result<Option<String>, Malformed> {
        Ok(members.text(self.peer_host)?.filter(|text| !text.is_empty()))
    }
}

impl Credentials {
    /// Takes the credentials out of the members.
    pub(crate) fn take(mut members: Members, spelling: &Spelling) -> Result<Self, Malformed> {
        Ok(Self {
            client_id: spelling.client_id(&mut members)?,
            username: username(&mut members)?,
            password: members.bytes("password")?.filter(|bytes| !bytes.is_empty()),
            peer_host: spelling.peer_host(&mut members)?,
            attributes: members.rest()?,
        })
    }
}

impl Actions {
    /// Takes the client out of the members, which wants all of this.
    pub(crate) fn take(mut members: Members, spelling: &Spelling, wanted: Vec<Wanted>) -> Result<Self, Malformed> {
        if wanted.len() > MOST_WANTED {
            return Err(Malformed::TooMany { limit: MOST_WANTED });
        }
        // A broker that shows the password even here has no reason to, and a policy no use for it.
        members.forget("password");
        Ok(Self {
            client_id: spelling.client_id(&mut members)?,
            username: username(&mut members)?,
            peer_host: spelling.peer_host(&mut members)?,
            attributes: members.rest()?,
            wanted,
        })
    }

    /// What asks whether a client of this name may be connected at all.
    pub(crate) fn presence() -> Vec<Wanted> {
        vec![Wanted { action: Action::Subscribe, topic: String::new() }]
    }
}

fn username(members: &mut Members) -> Result<Option<String>, Malformed> {
    Ok(members.text(&["username"])?.filter(|text| !text.is_empty()))
}

impl From<Question> for Asked {
    fn from(question: Question) -> Self {
        Self { question, mistakes: Vec::new() }
    }
}
