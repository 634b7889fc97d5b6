//! The request of a broker: may this client connect, or publish and subscribe?

use crate::warning::ConfigWarning;

/// A parsed request, and what looks wrong in the configuration of the broker that sent it.
pub struct Parsed {
    /// The request to the policy.
    pub request: AuthRequest,
    /// Warnings for the operator; usually empty.
    pub warnings: Vec<ConfigWarning>,
}

/// A request to a policy.
pub enum AuthRequest {
    /// May this client connect?
    Authenticate(Credentials),
    /// May this connected client publish or subscribe?
    Authorize(AuthorizeRequest),
    /// Always denied, without calling the policy.
    AlwaysDeny,
}

impl AuthRequest {
    /// The client identifier; empty if the request is not about a client.
    #[must_use]
    pub fn client_id(&self) -> &str {
        match self {
            Self::Authenticate(credentials) => &credentials.client_id,
            Self::Authorize(request) => &request.client_id,
            Self::AlwaysDeny => "",
        }
    }
}

/// The fields of a client's CONNECT packet, and what the broker knows of the connection. All of it is unverified.
///
/// Has no `Debug`, because it holds a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The client identifier. May be empty.
    pub client_id: String,
    /// The user name; `None` if missing or empty.
    pub username: Option<String>,
    /// The password, which may be any bytes; `None` if missing or empty.
    pub password: Option<Vec<u8>>,
    /// MQTT 5: the authentication method of the CONNECT packet.
    pub authentication_method: Option<String>,
    /// MQTT 5: the authentication data of the CONNECT packet.
    pub authentication_data: Option<Vec<u8>>,
    /// The client's address without the port.
    pub peer_host: Option<String>,
    /// Every other field of the request, in its order.
    pub attributes: Vec<(String, String)>,
}

/// An authorize request of a connected client. The broker states the client's identity; there is no proof of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// The client identifier. May be empty.
    pub client_id: String,
    /// The user name; `None` if missing or empty.
    pub username: Option<String>,
    /// The client's address without the port.
    pub peer_host: Option<String>,
    /// Every other field of the request, in its order.
    pub attributes: Vec<(String, String)>,
    /// The operations that the client asks for. They are allowed together or not at all.
    pub accesses: Vec<TopicAccess>,
}

/// One operation, on one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicAccess {
    /// The operation.
    pub action: Action,
    /// The topic name of a publish, or the topic filter of a subscribe, neither of them empty. Empty for
    /// [`Action::ConnectWithoutProof`].
    pub topic: String,
    /// The quality of service; `None` if the broker does not report it.
    pub qos: Option<u8>,
    /// Whether the message of a publish is retained; `None` if the broker does not report it.
    pub retain: Option<bool>,
}

impl TopicAccess {
    /// An operation of which the broker reports neither the quality of service nor whether a message is retained.
    #[must_use]
    pub fn new(action: Action, topic: impl Into<String>) -> Self {
        Self { action, topic: topic.into(), qos: None, retain: None }
    }
}

/// An operation of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Be connected at all. The broker sends no credentials with this question.
    ConnectWithoutProof,
    /// Send messages to it.
    Publish,
    /// Receive messages from it.
    Subscribe,
}

impl From<AuthRequest> for Parsed {
    fn from(request: AuthRequest) -> Self {
        Self { request, warnings: Vec::new() }
    }
}
