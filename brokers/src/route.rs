//! The routes: where each broker asks what, and which dialect is spoken there.

use percent_encoding::percent_decode_str;

use crate::auth_request::Parsed;
use crate::dialect::{emqx, http_status, mosquitto, rabbitmq, vernemq};
use crate::grant::{AllowReply, Grant, UnsupportedGrant};
use crate::reply::ALLOW;
use crate::{Outcome, Reply, Request, RequestError};

/// One question of one kind of broker.
///
/// No reply is right for every broker (NanoMQ lets in on any status 200, EMQX passes a 401 on to its next
/// authenticator), so each route speaks one dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// May a client connect? By HTTP status: 200 lets in, everything else refuses.
    MqttAuth,
    /// May a connected client publish or subscribe? By HTTP status.
    MqttAcl,
    /// EMQX 5 and rmqtt: may a client connect? By the body of a 200.
    EmqxAuth,
    /// EMQX 5 and rmqtt: may a connected client publish or subscribe? By the body of a 200.
    EmqxAcl,
    /// RabbitMQ: may a client connect?
    RabbitmqUser,
    /// RabbitMQ: may a client of this name be connected at all?
    RabbitmqVhost,
    /// RabbitMQ: may a client use this exchange or queue?
    RabbitmqResource,
    /// RabbitMQ: may a client publish or subscribe?
    RabbitmqTopic,
    /// mosquitto-go-auth: may a client connect?
    MosquittoUser,
    /// mosquitto-go-auth: is whoever has this user name above all rules? Never.
    MosquittoSuperuser,
    /// mosquitto-go-auth: may a connected client publish or subscribe?
    MosquittoAcl,
    /// VerneMQ: all three hooks.
    Vernemq,
}

/// The kinds of brokers, as far as they want to be answered differently.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Status,
    Emqx,
    Rabbitmq,
    Mosquitto,
    Vernemq,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 12] = [
        Self::MqttAuth,
        Self::MqttAcl,
        Self::EmqxAuth,
        Self::EmqxAcl,
        Self::RabbitmqUser,
        Self::RabbitmqVhost,
        Self::RabbitmqResource,
        Self::RabbitmqTopic,
        Self::MosquittoUser,
        Self::MosquittoSuperuser,
        Self::MosquittoAcl,
        Self::Vernemq,
    ];

    /// The route of a path, if it is one.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        // The two that a reconnect storm asks on come first.
        Self::ALL.into_iter().find(|route| route.path() == path)
    }

    /// The path of the route.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::MqttAuth => "/mqtt/auth",
            Self::MqttAcl => "/mqtt/acl",
            Self::EmqxAuth => "/emqx/auth",
            Self::EmqxAcl => "/emqx/acl",
            Self::RabbitmqUser => "/rabbitmq/user",
            Self::RabbitmqVhost => "/rabbitmq/vhost",
            Self::RabbitmqResource => "/rabbitmq/resource",
            Self::RabbitmqTopic => "/rabbitmq/topic",
            Self::MosquittoUser => "/mosquitto/user",
            Self::MosquittoSuperuser => "/mosquitto/superuser",
            Self::MosquittoAcl => "/mosquitto/acl",
            Self::Vernemq => "/vernemq",
        }
    }

    /// Whether a target that is no route looks as if EMQX or rmqtt had been pointed at it: they would take a status for
    /// leave to ask somebody else, so they are to be refused as on their own routes.
    #[must_use]
    pub fn looks_like_emqx(target: &str) -> bool {
        let path = target.split('?').next().unwrap_or_default();
        percent_decode_str(path).collect::<Vec<u8>>().to_ascii_lowercase().windows(4).any(|part| part == b"emqx")
    }

    /// Whether *ignore* is understood here: the broker asks somebody else then. Elsewhere it is a refusal.
    #[must_use]
    pub fn supports_ignore(self) -> bool {
        matches!(self.dialect(), Dialect::Emqx | Dialect::Vernemq)
    }

    /// Reads what a request asks.
    ///
    /// # Errors
    /// What is wrong with the request, if it asks nothing.
    pub fn parse(self, request: &Request) -> Result<Parsed, RequestError> {
        match self {
            Self::MqttAuth => http_status::parse_login(request),
            Self::MqttAcl => http_status::parse_action(request),
            Self::EmqxAuth => emqx::parse_login(request),
            Self::EmqxAcl => emqx::parse_action(request),
            Self::RabbitmqUser => rabbitmq::parse_user(request),
            Self::RabbitmqVhost => rabbitmq::parse_vhost(request),
            Self::RabbitmqResource => rabbitmq::parse_resource(request),
            Self::RabbitmqTopic => rabbitmq::parse_topic(request),
            Self::MosquittoUser => mosquitto::parse_user(request),
            Self::MosquittoSuperuser => mosquitto::parse_superuser(request),
            Self::MosquittoAcl => mosquitto::parse_acl(request),
            Self::Vernemq => vernemq::parse(request),
        }
    }

    /// The answer that lets a client in with this grant, at this moment in seconds since 1970-01-01T00:00:00Z.
    ///
    /// Brokers other than EMQX and rmqtt are told that it may connect, and nothing else of the grant: they ask about
    /// each topic.
    ///
    /// # Errors
    /// The broker would take the grant for another one.
    pub fn allow_login(self, grant: &Grant, now: u64) -> Result<AllowReply, UnsupportedGrant> {
        if matches!(self.dialect(), Dialect::Status | Dialect::Emqx) {
            return emqx::allow_login(grant, now);
        }
        grant.check_expiry(now)?;
        Ok(self.allow_action())
    }

    /// The answer that allows an action.
    #[must_use]
    pub fn allow_action(self) -> AllowReply {
        match self.dialect() {
            Dialect::Status | Dialect::Emqx => AllowReply(Reply::json(200, ALLOW)),
            Dialect::Rabbitmq => rabbitmq::allow_action(),
            Dialect::Mosquitto => mosquitto::allow_action(),
            Dialect::Vernemq => vernemq::allow_action(),
        }
    }

    /// Puts what came of a request as the broker understands it.
    #[must_use]
    pub fn render(self, outcome: Outcome) -> Reply {
        match self.dialect() {
            Dialect::Status => http_status::render(outcome),
            Dialect::Emqx => emqx::render(outcome),
            Dialect::Rabbitmq => rabbitmq::render(outcome),
            Dialect::Mosquitto => mosquitto::render(outcome),
            Dialect::Vernemq => vernemq::render(outcome),
        }
    }

    fn dialect(self) -> Dialect {
        match self {
            Self::MqttAuth | Self::MqttAcl => Dialect::Status,
            Self::EmqxAuth | Self::EmqxAcl => Dialect::Emqx,
            Self::RabbitmqUser | Self::RabbitmqVhost | Self::RabbitmqResource | Self::RabbitmqTopic => {
                Dialect::Rabbitmq
            }
            Self::MosquittoUser | Self::MosquittoSuperuser | Self::MosquittoAcl => Dialect::Mosquitto,
            Self::Vernemq => Dialect::Vernemq,
        }
    }
}
