//! Answers HTTP requests on the brokers' port.
//!
//! ```text
//! handle → classify → check: parse → evaluate → Decision → telemetry → render → response
//!                   └ status page, CORS, 404
//! ```

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, Request, Response, StatusCode, Version};
use brokers::{
    AuthRequest, ConfigWarning, Credentials, ForeignProtocol, Outcome, Parsed, Reply, RequestError, RequestHead,
    RequestKind, Route, Routes, header_text, split_target, split_tenant,
};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};
use tower::ServiceExt;

use crate::config::Limits;
use crate::decision::{CallCost, Decision, Evaluator, RequestContext};
use crate::security::{AuthError, SecretVerifier, presented};
use crate::telemetry::Telemetry;

pub(crate) mod body;
pub(crate) mod site;
pub(crate) mod status_page;
mod template_evidence;

use site::{Site, Sites};
use template_evidence::TemplateEvidence;

/// Bytes of an unread target in which a path is looked for. No route is longer, with the name of a tenant.
const MAX_PATH: usize = 128;

/// Bytes of a `traceparent`. Version 00 has 55, and later versions may append to it.
const MAX_TRACE_PARENT: usize = 128;

/// Body of a response: of a route, or of the fallback router.
pub(crate) type ResponseBody = Either<Full<Bytes>, axum::body::Body>;

/// Memory of a connection from one request to the next.
#[derive(Default)]
pub(crate) struct ConnectionMemory {
    cost: CallCost,
    templates: TemplateEvidence,
}

/// Answers the requests of brokers.
pub(crate) struct AuthService<E> {
    sites: Arc<Sites<E>>,
    routes: Routes,
    telemetry: Telemetry,
    limits: Limits,
    /// Answers everything that is not a request of a broker.
    fallback: Router,
}

impl<E: Evaluator> AuthService<E> {
    pub(crate) fn new(
        sites: Arc<Sites<E>>,
        routes: Routes,
        fallback: Router,
        telemetry: Telemetry,
        limits: Limits,
    ) -> Self {
        Self { sites, routes, telemetry, limits, fallback }
    }

    /// Answers one request.
    pub(crate) async fn handle(
        &self,
        request: Request<Incoming>,
        memory: &ConnectionMemory,
    ) -> Result<Response<ResponseBody>, Infallible> {
        if let Some((tenant, path)) = split_tenant(request.uri().path()) {
            // Found by its own name: the name in the request does not outlive the request.
            let (site, kind) = (self.sites.tenant(tenant), self.classify(&request, path));
            return self.handle_of_tenant(site, kind, request, memory).await;
        }
        match self.classify(&request, request.uri().path()) {
            RequestKind::Check(route, method) => Ok(self.check(&self.sites.gate, route, method, request, memory).await),
            RequestKind::StatusPage => self.fall_back(request).await,
            RequestKind::Refused(route) => {
                self.record_unrouted(&request);
                self.discard_body(request.into_body()).await;
                Ok(to_response(route, route.render(Outcome::Malformed(&RequestError::Route))))
            }
            RequestKind::NotFound => {
                // A POST is a broker with a wrong path, anything else a visitor.
                if request.method() == Method::POST {
                    self.record_unrouted(&request);
                }
                self.fall_back(request).await
            }
        }
    }

    /// Answers a request below the path of a tenant. Only the routes for brokers are there.
    async fn handle_of_tenant(
        &self,
        site: Option<Arc<Site<E>>>,
        kind: RequestKind,
        request: Request<Incoming>,
        memory: &ConnectionMemory,
    ) -> Result<Response<ResponseBody>, Infallible> {
        match (kind, site) {
            (RequestKind::Check(route, method), Some(site)) => {
                Ok(self.check(&site, route, method, request, memory).await)
            }
            (RequestKind::Check(route, _), None) => {
                self.discard_body(request.into_body()).await;
                Ok(to_response(route, self.reject(route, &RequestError::Tenant)))
            }
            (RequestKind::Refused(route), _) => {
                self.record_unrouted(&request);
                self.discard_body(request.into_body()).await;
                Ok(to_response(route, route.render(Outcome::Malformed(&RequestError::Route))))
            }
            (RequestKind::StatusPage | RequestKind::NotFound, _) => {
                if request.method() == Method::POST {
                    self.record_unrouted(&request);
                }
                self.fall_back(request).await
            }
        }
    }

    /// Classifies a request by its path without that of the tenant. The routes are matched by hand: a router costs 1.1 µs
    /// a request.
    fn classify(&self, request: &Request<Incoming>, path: &str) -> RequestKind {
        let head = RequestHead {
            method: request.method().as_str(),
            path,
            has_query: request.uri().query().is_some(),
            has_body: !request.body().is_end_stream(),
        };
        RequestKind::of(&head, request.headers().keys().map(HeaderName::as_str), &self.routes)
    }

    /// Answers a request on a route.
    async fn check(
        &self,
        site: &Site<E>,
        route: Route,
        method: Option<brokers::Method>,
        request: Request<Incoming>,
        memory: &ConnectionMemory,
    ) -> Response<ResponseBody> {
        // A browser names the page that sent the request. Brokers do not, so the headers cost them nothing.
        let is_cross_origin = route.supports_cors() && request.headers().contains_key(header::ORIGIN);
        let trace_parent = self.trace_parent(&request);
        let reply = match self.parse(&site.secret, route, method, request).await {
            Ok(parsed) => self.decide(site, route, parsed, trace_parent, memory).await,
            Err(error) => self.reject_parsed(route, &error, memory),
        };
        let mut response = to_response(route, reply);
        if is_cross_origin {
            for (name, value) in brokers::CORS_HEADERS {
                response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
        }
        response
    }

    /// Reads and parses a request. The secret is checked before anything of its body is kept.
    async fn parse(
        &self,
        secret: &SecretVerifier,
        route: Route,
        method: Option<brokers::Method>,
        request: Request<Incoming>,
    ) -> Result<Parsed, RequestError> {
        let (head, body) = request.into_parts();
        if !has_one_host(&head) {
            self.discard_body(body).await;
            return Err(RequestError::Host);
        }
        let presented = || presented::by_broker(|name| head.headers.get(name).map(HeaderValue::as_bytes));
        if let Err(error) = secret.verify(presented) {
            self.discard_body(body).await;
            return Err(match error {
                AuthError::Missing => RequestError::NoSecret,
                AuthError::Invalid => RequestError::WrongSecret,
            });
        }
        let body = self.read_body(body).await?;
        let method = method.ok_or(RequestError::Method)?;
        let header = |name: &str| head.headers.get(name).map(|value| header_text(value.as_bytes()));
        route.parse(&brokers::Request { method, query: head.uri.query(), header: &header, body: &body })
    }

    /// Reads a body.
    async fn read_body(&self, body: Incoming) -> Result<Bytes, RequestError> {
        let max_body = usize::try_from(self.limits.max_body.as_u64()).unwrap_or(usize::MAX);
        body::read(body, max_body, self.limits.request_timeout).await
    }

    /// Reads the body of a request that is rejected, and keeps nothing of it: other requests follow it on the connection.
    async fn discard_body(&self, body: Incoming) {
        body::discard(body, self.limits.request_timeout).await;
    }

    /// Evaluates a request, records the decision, and renders it for the broker.
    async fn decide(
        &self,
        site: &Site<E>,
        route: Route,
        parsed: Parsed,
        trace_parent: Option<String>,
        memory: &ConnectionMemory,
    ) -> Reply {
        let (at, started) = (SystemTime::now(), Instant::now());
        let Parsed { request, warnings } = parsed;
        let mistakes = self.mistakes(route, warnings, &memory.templates);
        self.telemetry.record_parsed(route, &mistakes, at);
        let (routes, tenant, client_id) = (self.routes, site.tenant, request.client_id().to_owned());
        let context = RequestContext { route, routes, tenant, client_id, at, started, trace_parent };
        let decision = match request {
            AuthRequest::Authenticate(credentials) => self.authenticate(site, context, credentials, memory).await,
            AuthRequest::Authorize(request) => {
                Decision::authorize(context, site.evaluator.authorize(request, &memory.cost).await)
            }
            AuthRequest::AlwaysDeny => {
                self.telemetry.record_always_denied(route);
                return self.routes.render(route, Outcome::Deny);
            }
        };
        self.telemetry.record(&decision);
        if let Some(counters) = &site.counters {
            counters.record(&decision);
        }
        self.routes.render(route, decision.outcome)
    }

    /// Judges a login, unless it is refused without a call of the policy.
    async fn authenticate(
        &self,
        site: &Site<E>,
        context: RequestContext,
        credentials: Credentials,
        memory: &ConnectionMemory,
    ) -> Decision {
        let (route, active) = (context.route, site.evaluator.policy());
        let attempt = match site.refusals.find(route, &credentials, active, context.started) {
            Ok((code, policy)) => return Decision::refuse(context, policy, code),
            Err(attempt) => attempt,
        };
        let decision = Decision::authenticate(context, site.evaluator.authenticate(credentials, &memory.cost).await);
        if site.refusals.record(&attempt, decision.code, decision.policy, Instant::now()) {
            self.telemetry.log_lockout(&decision);
        }
        decision
    }

    /// The header `traceparent` (W3C Trace Context), so that the span of the gate is part of the sender's trace.
    fn trace_parent(&self, request: &Request<Incoming>) -> Option<String> {
        self.telemetry.traces.as_ref()?;
        let header = request.headers().get("traceparent")?.to_str().ok()?;
        (header.len() <= MAX_TRACE_PARENT).then(|| header.to_owned())
    }

    /// The warnings that the broker's configuration causes. A client can cause the others.
    fn mistakes(
        &self,
        route: Route,
        mut warnings: Vec<ConfigWarning>,
        templates: &TemplateEvidence,
    ) -> Vec<ConfigWarning> {
        let fields: Vec<_> = warnings.iter().filter_map(ConfigWarning::client_field).collect();
        let mut is_evident = templates.observe(route, &fields).into_iter();
        warnings.retain(|warning| match warning {
            // The requests of rmqtt are like those of EMQX 4.
            ConfigWarning::LooksLikeEmqx4 => !self.routes.has_rmqtt(),
            warning if warning.client_field().is_some() => is_evident.next() == Some(true),
            _ => true,
        });
        warnings
    }

    /// Rejects a request whose fields cannot be evaluated.
    fn reject_parsed(&self, route: Route, error: &RequestError, memory: &ConnectionMemory) -> Reply {
        match error {
            // A client can publish to the topic `${foo}`.
            RequestError::UnresolvedPlaceholder(field) if memory.templates.observe(route, &[field]) != [true] => {
                self.telemetry.metrics.record_malformed();
                route.render(Outcome::Malformed(error))
            }
            error => self.reject(route, error),
        }
    }

    /// Rejects a request that is malformed.
    fn reject(&self, route: Route, error: &RequestError) -> Reply {
        self.record_malformed(route.path(), error);
        route.render(Outcome::Malformed(error))
    }

    fn record_unrouted(&self, request: &Request<Incoming>) {
        self.telemetry.record_unrouted(request.uri().path(), SystemTime::now());
    }

    fn record_malformed(&self, route: &'static str, error: &RequestError) {
        self.telemetry.record_malformed(route, error, SystemTime::now());
    }

    /// Returns the response to a request whose head cannot be read, as bytes. It closes the connection.
    ///
    /// The target of a head that is too long names the dialect. A device causes such a head by a user name that is too
    /// long for a URL, and some brokers take a status 4xx for *ignore*. No device causes any other unreadable head.
    pub(crate) fn unreadable_response(&self, head: &[u8], is_too_long: bool) -> Vec<u8> {
        let error = if is_too_long { RequestError::HeadTooLong } else { RequestError::InvalidHttp };
        let route = if is_too_long { self.route_of(head) } else { None }.or_else(|| self.routes.fallback());
        let Reply { status, content_type, body } = match route {
            Some(route) if is_too_long => self.reject(route, &error),
            // No route is at fault.
            route => {
                // Only records name another protocol. The response is the same for every unreadable head, wherever on
                // the connection it is.
                let named = ForeignProtocol::of(head).map_or_else(|| error.clone(), RequestError::Protocol);
                self.record_malformed(brokers::UNMATCHED_ROUTE, if is_too_long { &error } else { &named });
                route.map_or_else(|| Reply::unrouted(&error), |route| route.render(Outcome::Malformed(&error)))
            }
        };
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
        let length = body.len();
        let response = format!(
            "HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        );
        response.into_bytes()
    }

    /// The route of an unread head.
    fn route_of(&self, head: &[u8]) -> Option<Route> {
        let target = head.split(|&byte| byte == b' ').nth(1)?;
        let (path, _) = split_target(str::from_utf8(target.get(..MAX_PATH).unwrap_or(target)).ok()?);
        self.routes.find(split_tenant(path).map_or(path, |(_, path)| path))
    }

    async fn fall_back(&self, request: Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
        let (head, body) = request.into_parts();
        self.discard_body(body).await;
        let request = Request::from_parts(head, axum::body::Body::empty());
        Ok(self.fallback.clone().oneshot(request).await?.map(Either::Right))
    }
}

/// Whether a request names its host once, as HTTP/1.1 demands. Two hosts are a sign of request smuggling.
fn has_one_host(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let first = hosts.next();
    hosts.next().is_none() && (first.is_some() || head.version < Version::HTTP_11)
}

fn to_response(route: Route, reply: Reply) -> Response<ResponseBody> {
    let body = match reply.body {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    };
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if reply.status == 405 {
        headers.insert(header::ALLOW, HeaderValue::from_static(route.methods()));
    }
    response
}
