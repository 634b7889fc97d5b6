//! The routes: one operation of one kind of broker each.

use crate::auth_request::Parsed;
use crate::dialect::{Dialect, emqx, http_status, mosquitto, rabbitmq, vernemq};
use crate::emqx_version::EmqxVersion;
use crate::error::RequestError;
use crate::grant::{Authorizer, Grant, UnsupportedGrant};
use crate::parse::request::Request;
use crate::permission::Permission;
use crate::reply::{AllowReply, Outcome, Reply};
use crate::warning::ConfigWarning;

/// One operation of one kind of broker.
///
/// No reply is right for every broker: NanoMQ admits a client on any status 200, and EMQX asks its next authenticator
/// on a 401. So each route has one dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Authenticate, by HTTP status: 200 admits, every other status denies.
    MqttAuth,
    /// Authorize, by HTTP status.
    MqttAcl,
    /// EMQX 5 and rmqtt: authenticate, by the body of a 200.
    EmqxAuth,
    /// EMQX 5 and rmqtt: authorize, by the body of a 200.
    EmqxAcl,
    /// RabbitMQ: authenticate.
    RabbitmqUser,
    /// RabbitMQ: may a client with this name be connected at all?
    RabbitmqVhost,
    /// RabbitMQ: may a client use this exchange or queue?
    RabbitmqResource,
    /// RabbitMQ: authorize.
    RabbitmqTopic,
    /// mosquitto-go-auth: authenticate.
    MosquittoUser,
    /// mosquitto-go-auth: is this user name a superuser? Always denied.
    MosquittoSuperuser,
    /// mosquitto-go-auth: authorize.
    MosquittoAcl,
    /// VerneMQ: all three hooks.
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

    /// The methods of the route, for the header `allow`.
    #[must_use]
    pub const fn methods(self) -> &'static str {
        match self {
            Self::MqttAuth => "GET, POST, OPTIONS",
            Self::Vernemq => "POST",
            _ => "GET, POST",
        }
    }

    /// Whether browsers may use the route from pages of any origin. Replies to them have [`crate::CORS_HEADERS`].
    #[must_use]
    pub const fn supports_cors(self) -> bool {
        matches!(self, Self::MqttAuth)
    }

    /// Whether the broker understands *ignore*, and asks its next authenticator. Elsewhere *ignore* is a denial.
    #[must_use]
    pub fn supports_ignore(self) -> bool {
        matches!(self.dialect(), Dialect::Emqx | Dialect::Vernemq)
    }

    /// Parses a request.
    ///
    /// # Errors
    /// The request cannot be evaluated.
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

    /// The reply that admits a client with this grant, if the version of the broker is not known. `now` is in seconds
    /// since 1970-01-01T00:00:00Z.
    ///
    /// Only EMQX and rmqtt receive the grant. Other brokers learn that the client may connect, and ask about each
    /// topic. So a grant of some topics needs a policy with an authorizer there: VerneMQ would otherwise widen it to its
    /// own rules.
    ///
    /// # Errors
    /// The broker would not enforce the grant as the policy meant it.
    pub fn allow_login(self, grant: &Grant, authorizer: Authorizer, now: u64) -> Result<AllowReply, UnsupportedGrant> {
        self.allow_login_by(grant, authorizer, None, now)
    }

    /// As [`Self::allow_login`], for an EMQX of this version.
    pub(crate) fn allow_login_by(
        self,
        grant: &Grant,
        authorizer: Authorizer,
        emqx_version: Option<EmqxVersion>,
        now: u64,
    ) -> Result<AllowReply, UnsupportedGrant> {
        grant.check_expiry(now)?;
        grant.check_rules()?;
        let dialect = self.dialect();
        let extensions = grant.extensions_of(dialect.extension_prefix())?;
        if dialect == Dialect::Emqx {
            return emqx::allow_login(grant, &emqx::overrides(&extensions, emqx_version)?);
        }
        if !extensions.is_empty() {
            return Err(UnsupportedGrant::UnsupportedExtension);
        }
        if dialect == Dialect::HttpStatus {
            return emqx::allow_login(grant, &[]);
        }
        if authorizer == Authorizer::Absent && grant.limits_topics() {
            return Err(UnsupportedGrant::NoAuthorizer);
        }
        Ok(self.allow_action())
    }

    /// The reply that allows an action.
    #[must_use]
    pub fn allow_action(self) -> AllowReply {
        match self.dialect() {
            Dialect::HttpStatus | Dialect::Emqx => emqx::allow_action(),
            Dialect::Rabbitmq => rabbitmq::allow(),
            Dialect::Mosquitto => mosquitto::allow(),
            Dialect::Vernemq => vernemq::allow(),
        }
    }

    /// The outcome of an authorize request.
    #[must_use]
    pub fn authorize_outcome(self, permission: Permission) -> Outcome<'static> {
        match permission {
            Permission::Allow => Outcome::Allow(self.allow_action()),
            Permission::Deny => Outcome::Deny,
            Permission::Ignore => Outcome::Ignore,
        }
    }

    /// The warning for a permission that this route can only deny: the policy leaves the action to the broker's own
    /// rules, and the broker has none.
    #[must_use]
    pub fn fallback_warning(self, permission: Permission, authorizer: Authorizer) -> Option<ConfigWarning> {
        let is_denied = permission == Permission::Ignore && !self.supports_ignore();
        is_denied.then_some(match authorizer {
            Authorizer::Present => ConfigWarning::NoFallbackRules,
            Authorizer::Absent => ConfigWarning::NoAuthorizer,
        })
    }

    /// The reply for an outcome, as the broker reads it.
    #[must_use]
    pub fn render(self, outcome: Outcome) -> Reply {
        match self.dialect() {
            Dialect::HttpStatus => http_status::render(outcome),
            Dialect::Emqx => emqx::render(outcome),
            Dialect::Rabbitmq => rabbitmq::render(outcome),
            Dialect::Mosquitto => mosquitto::render(outcome),
            Dialect::Vernemq => vernemq::render(outcome),
        }
    }

    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::MqttAuth | Self::MqttAcl => Dialect::HttpStatus,
            Self::EmqxAuth | Self::EmqxAcl => Dialect::Emqx,
            Self::RabbitmqUser | Self::RabbitmqVhost | Self::RabbitmqResource | Self::RabbitmqTopic => {
                Dialect::Rabbitmq
            }
            Self::MosquittoUser | Self::MosquittoSuperuser | Self::MosquittoAcl => Dialect::Mosquitto,
            Self::Vernemq => Dialect::Vernemq,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_action_warns_where_the_broker_has_no_rules() {
        for route in Route::ALL {
            let expected = (!route.supports_ignore()).then_some(ConfigWarning::NoFallbackRules);
            assert_eq!(route.fallback_warning(Permission::Ignore, Authorizer::Present), expected, "{route:?}");
            let expected = expected.map(|_| ConfigWarning::NoAuthorizer);
            assert_eq!(route.fallback_warning(Permission::Ignore, Authorizer::Absent), expected, "{route:?}");
            assert_eq!(route.fallback_warning(Permission::Allow, Authorizer::Present), None);
            assert_eq!(route.fallback_warning(Permission::Deny, Authorizer::Absent), None);
        }
    }

    #[test]
    fn permission_becomes_the_outcome_of_the_same_name() {
        for route in Route::ALL {
            assert_eq!(route.authorize_outcome(Permission::Allow), Outcome::Allow(route.allow_action()));
            assert_eq!(route.authorize_outcome(Permission::Deny), Outcome::Deny);
            assert_eq!(route.authorize_outcome(Permission::Ignore), Outcome::Ignore);
        }
    }
}
