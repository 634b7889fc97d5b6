//! The routes that brokers ask on, and the one line where every fault becomes a refusal.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::http::header::{self, HeaderValue};
use axum::http::{Method, Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing;
use brokers::{Credentials, Dialect, Malformed, Outcome, Reply};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::active::{ActivePolicy, InService};
use crate::body;
use crate::config::{KEY_SETTING, Limits};
use crate::judge::judge;
use crate::login::Login;
use crate::tally::Tally;

const STATUS_ROUTE: &str = "/mqtt/auth";
const EMQX_ROUTE: &str = "/emqx/auth";

type Answer = Response<Either<Full<Bytes>, axum::body::Body>>;

/// Answers brokers, by the policy in service.
pub(crate) struct Logins {
    active: ActivePolicy,
    tally: Arc<Tally>,
    limits: Limits,
    others: Router,
}

/// One way in: where it is and how it is spoken there.
#[derive(Clone, Copy)]
struct Route {
    path: &'static str,
    dialect: Dialect,
}

impl Route {
    fn methods(self) -> &'static str {
        match self.dialect {
            Dialect::Status => METHODS,
            Dialect::Emqx => "GET, POST",
        }
    }
}

impl Logins {
    pub(crate) fn new(active: ActivePolicy, tally: Arc<Tally>, limits: Limits) -> Self {
        let others = others(active.clone());
        Self { active, tally, limits, others }
    }

    /// Answers one request. The routes for logins are matched by hand, because everything passes through here.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let route = match request.uri().path() {
            STATUS_ROUTE => Route { path: STATUS_ROUTE, dialect: Dialect::Status },
            EMQX_ROUTE => Route { path: EMQX_ROUTE, dialect: Dialect::Emqx },
            _ => return self.answer_others(request).await,
        };
        let asks_by = match *request.method() {
            Method::POST => Some(brokers::Method::Post),
            Method::GET if route.dialect == Dialect::Emqx || request.uri().query().is_some() => {
                Some(brokers::Method::Get)
            }
            // Neither judges a login: with a query, HEAD would answer 200 to whoever asks for one that way.
            Method::GET | Method::OPTIONS if route.dialect == Dialect::Status => {
                return self.answer_others(request).await;
            }
            Method::HEAD if route.dialect == Dialect::Status && request.uri().query().is_none() => {
                return self.answer_others(request).await;
            }
            _ => None,
        };
        let reply = match self.credentials(route, asks_by, request).await {
            Ok(who) => self.answer_login(route, who).await,
            Err(problem) => self.turn_down(route, &problem),
        };
        Ok(to_response(route, reply))
    }

    /// Reads the request and what it says.
    async fn credentials(
        &self,
        route: Route,
        asks_by: Option<brokers::Method>,
        request: Request<Incoming>,
    ) -> Result<Credentials, Malformed> {
        let method = asks_by.ok_or(Malformed::Method)?;
        let (head, body) = request.into_parts();
        let body = match method {
            brokers::Method::Post => body::read(body, self.limit(), self.limits.request).await?,
            brokers::Method::Get => Bytes::new(),
        };
        let content_type = head.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("unreadable"));
        route.dialect.parse(&brokers::Request { method, content_type, query: head.uri.query(), body: &body })
    }

    /// The most bytes of a body.
    fn limit(&self) -> usize {
        usize::try_from(self.limits.body.as_u64()).unwrap_or(usize::MAX)
    }

    /// Puts a login to the policy in service. The whole login is judged by one policy, whatever is swapped meanwhile.
    async fn answer_login(&self, route: Route, who: Credentials) -> Reply {
        let serving = self.active.get();
        let client_id = who.client_id.clone();
        let login = Login { route: route.path, client_id: &client_id, policy: serving.policy.digest() };
        let verdict = judge(&serving, who).await;
        // The one place where a fault gets its answer: it is refused.
        let outcome = verdict.map_or_else(|error| login.refuse_for(&error), |verdict| login.outcome(&verdict));
        self.tally.count(&outcome);
        route.dialect.render(outcome)
    }

    fn turn_down(&self, route: Route, problem: &Malformed) -> Reply {
        let outcome = Outcome::Malformed(problem);
        self.tally.count(&outcome);
        tracing::info!(route = route.path, %problem, "malformed request");
        route.dialect.render(outcome)
    }

    async fn answer_others(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        Ok(self.others.clone().oneshot(request).await?.map(Either::Right))
    }
}

fn to_response(route: Route, reply: Reply) -> Answer {
    let body = match reply.body {
        std::borrow::Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        std::borrow::Cow::Owned(text) => Bytes::from(text),
    };
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Reply::CONTENT_TYPE));
    if reply.status == 405 {
        headers.insert(header::ALLOW, HeaderValue::from_static(route.methods()));
    }
    if route.dialect == Dialect::Status {
        CROSS_ORIGIN.into_iter().for_each(|(name, value)| drop(headers.insert(name, HeaderValue::from_static(value))));
    }
    response
}

const METHODS: &str = "GET, POST, OPTIONS";

/// What the endpoint that this one replaces meant to tell browsers.
const CROSS_ORIGIN: [(header::HeaderName, &str); 3] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "client-id, content-type, device-id"),
];

/// What is asked of the brokers' port besides logins.
fn others(active: ActivePolicy) -> Router {
    let status = move || async move { (CROSS_ORIGIN, status_text(&active.get())) };
    let options = || async { (StatusCode::NO_CONTENT, CROSS_ORIGIN) };
    Router::new().route(STATUS_ROUTE, routing::get(status).options(options)).fallback(|| async {
        (StatusCode::NOT_FOUND, "no such route; brokers ask on /mqtt/auth or /emqx/auth\n").into_response()
    })
}

fn status_text(serving: &InService) -> String {
    let policy = &serving.policy;
    format!(
        "mqtt-gate {version} is running\n\
         policy: {name}, sha256 {digest}, generation {generation}, since {since}\n\
         signature key: {key}\n",
        version = env!("CARGO_PKG_VERSION"),
        name = policy.name(),
        digest = policy.digest(),
        generation = serving.generation,
        since = humantime::format_rfc3339_seconds(serving.since),
        key = if policy.uses(KEY_SETTING) { "set" } else { "not set" },
    )
}
