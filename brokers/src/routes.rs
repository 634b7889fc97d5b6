//! The kinds of brokers, and the routes that a gate has for them.

use serde::Deserialize;

use crate::dialect::Dialect;
use crate::emqx_version::EmqxVersion;
use crate::grant::{Authorizer, Grant, UnsupportedGrant};
use crate::reply::{AllowReply, DENY, Outcome, Reply};
use crate::route::Route;

/// A kind of broker or proxy that asks a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BrokerKind {
    /// EMQX 5 and 6.
    Emqx,
    /// rmqtt, which asks as EMQX does.
    Rmqtt,
    /// NanoMQ.
    Nanomq,
    /// amqtt.
    Amqtt,
    /// A proxy that reads the status, such as Envoy with `ext_authz`.
    Envoy,
    /// RabbitMQ with its MQTT plugin.
    Rabbitmq,
    /// mosquitto with mosquitto-go-auth.
    MosquittoGoAuth,
    /// VerneMQ.
    Vernemq,
}

impl BrokerKind {
    fn dialect(self) -> Dialect {
        match self {
            Self::Emqx | Self::Rmqtt => Dialect::Emqx,
            Self::Nanomq | Self::Amqtt | Self::Envoy => Dialect::HttpStatus,
            Self::Rabbitmq => Dialect::Rabbitmq,
            Self::MosquittoGoAuth => Dialect::Mosquitto,
            Self::Vernemq => Dialect::Vernemq,
        }
    }
}

/// The route on which a client of this dialect logs in.
const fn login_route(dialect: Dialect) -> Route {
    match dialect {
        Dialect::HttpStatus => Route::MqttAuth,
        Dialect::Emqx => Route::EmqxAuth,
        Dialect::Rabbitmq => Route::RabbitmqUser,
        Dialect::Mosquitto => Route::MosquittoUser,
        Dialect::Vernemq => Route::Vernemq,
    }
}

/// The reply to EMQX if the policy or the gate fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum FaultReply {
    /// A denial by status 200. It is final in every version, and EMQX keeps it as long as any other reply.
    #[default]
    #[serde(rename = "deny")]
    Deny,
    /// Status 503. EMQX counts it as a failure of its backend and does not keep it. It is a denial only under EMQX's
    /// hardened security profile: otherwise EMQX asks its next authenticator.
    #[serde(rename = "503")]
    Unavailable,
}

/// The routes of a gate. By default all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Routes {
    /// `None`: brokers of every kind may ask.
    dialects: Option<Dialects>,
    emqx_fault_reply: FaultReply,
    /// Whether the operator says that rmqtt asks.
    has_rmqtt: bool,
    /// The oldest EMQX that asks. `None`: one of unknown version, or rmqtt, may ask.
    emqx_version: Option<EmqxVersion>,
}

/// The dialects of the brokers that ask.
#[derive(Clone, Copy, Debug)]
struct Dialects {
    first: Dialect,
    /// Whether each route exists, by its place in [`Route::ALL`].
    routes: [bool; Route::ALL.len()],
    is_only_one: bool,
}

impl Routes {
    /// The routes for brokers of these kinds. All routes if none is named.
    #[must_use]
    pub fn for_kinds(kinds: &[BrokerKind]) -> Self {
        let is_asked = |dialect| kinds.iter().any(|kind| kind.dialect() == dialect);
        let dialects = kinds.first().map(|kind| Dialects {
            first: kind.dialect(),
            routes: Route::ALL.map(|route| is_asked(route.dialect())),
            is_only_one: kinds.iter().all(|other| other.dialect() == kind.dialect()),
        });
        Self { dialects, has_rmqtt: kinds.contains(&BrokerKind::Rmqtt), ..Self::default() }
    }

    /// Sets the reply to EMQX if the policy or the gate fails.
    #[must_use]
    pub fn with_emqx_fault_reply(self, reply: FaultReply) -> Self {
        Self { emqx_fault_reply: reply, ..self }
    }

    /// Sets the versions of all EMQX that ask. One of unknown version, or none at all, makes the version unknown.
    #[must_use]
    pub fn with_emqx_versions(self, versions: impl IntoIterator<Item = Option<EmqxVersion>>) -> Self {
        let oldest = versions.into_iter().collect::<Option<Vec<_>>>().and_then(|known| known.into_iter().min());
        Self { emqx_version: oldest.filter(|_| !self.has_rmqtt), ..self }
    }

    /// The reply that admits a client with this grant. `now` is in seconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// The broker would not enforce the grant as the policy meant it.
    pub fn allow_login(
        &self,
        route: Route,
        grant: &Grant,
        authorizer: Authorizer,
        now: u64,
    ) -> Result<AllowReply, UnsupportedGrant> {
        route.allow_login_by(grant, authorizer, self.emqx_version, now)
    }

    /// The reply for an outcome, as the broker of the route reads it.
    #[must_use]
    pub fn render(&self, route: Route, outcome: Outcome) -> Reply {
        let is_emqx_fault = outcome == Outcome::Error && route.dialect() == Dialect::Emqx;
        match self.emqx_fault_reply {
            FaultReply::Unavailable if is_emqx_fault => Reply::json(503, DENY),
            _ => route.render(outcome),
        }
    }

    /// Whether the operator says that rmqtt asks, whose requests are like those of EMQX 4.
    #[must_use]
    pub fn has_rmqtt(&self) -> bool {
        self.has_rmqtt
    }

    /// The route of a path. `None` if the path is not a route, or if no named broker uses it.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Route> {
        self.iter().find(|route| route.path() == path)
    }

    /// The route as which every request is refused that belongs to none: the login of the only dialect.
    ///
    /// `None` if brokers of several dialects ask. No reply is a denial for all of them: NanoMQ admits a client on any
    /// status 200, and EMQX takes any other status for *ignore*. So such a request gets a status 4xx, which no broker
    /// reads as *allow*.
    #[must_use]
    pub fn fallback(&self) -> Option<Route> {
        self.dialects.filter(|dialects| dialects.is_only_one).map(|dialects| login_route(dialects.first))
    }

    /// The routes, in the order of [`Route::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = Route> {
        let routes = self.dialects.map_or([true; Route::ALL.len()], |dialects| dialects.routes);
        Route::ALL.into_iter().zip(routes).filter_map(|(route, exists)| exists.then_some(route))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_unnamed_kinds_do_not_exist() {
        let routes = Routes::for_kinds(&[BrokerKind::Rmqtt, BrokerKind::Vernemq]);
        assert_eq!(routes.iter().collect::<Vec<_>>(), [Route::EmqxAuth, Route::EmqxAcl, Route::Vernemq]);
        assert_eq!((routes.find("/emqx/acl"), routes.find("/mqtt/auth")), (Some(Route::EmqxAcl), None));
        assert_eq!(Routes::default().iter().collect::<Vec<_>>(), Route::ALL);
        assert_eq!(Routes::for_kinds(&[]).iter().count(), Route::ALL.len());
    }

    #[test]
    fn only_faults_on_the_routes_of_emqx_become_a_503() {
        let routes = Routes::for_kinds(&[]).with_emqx_fault_reply(FaultReply::Unavailable);
        for route in Route::ALL {
            let is_emqx = matches!(route, Route::EmqxAuth | Route::EmqxAcl);
            let fault = routes.render(route, Outcome::Error);
            assert_eq!(fault == Reply::json(503, DENY), is_emqx || route.dialect() == Dialect::HttpStatus, "{route:?}");
            assert_eq!(Routes::default().render(route, Outcome::Error), route.render(Outcome::Error));
            for outcome in [Outcome::Deny, Outcome::Ignore, Outcome::Malformed(&crate::RequestError::Empty)] {
                assert_eq!(routes.render(route, outcome.clone()), route.render(outcome));
            }
        }
    }

    #[test]
    fn only_one_dialect_has_a_fallback() {
        use BrokerKind::{Amqtt, Emqx, Envoy, MosquittoGoAuth, Nanomq, Rabbitmq, Rmqtt, Vernemq};
        for (kinds, fallback) in [
            (&[][..], None),
            (&[Emqx], Some(Route::EmqxAuth)),
            (&[Emqx, Rmqtt, Emqx], Some(Route::EmqxAuth)),
            (&[Nanomq, Amqtt, Envoy], Some(Route::MqttAuth)),
            (&[Rabbitmq], Some(Route::RabbitmqUser)),
            (&[MosquittoGoAuth], Some(Route::MosquittoUser)),
            (&[Vernemq], Some(Route::Vernemq)),
            (&[Emqx, Nanomq], None),
            (&[Nanomq, Emqx], None),
        ] {
            assert_eq!(Routes::for_kinds(kinds).fallback(), fallback, "{kinds:?}");
        }
    }
}
