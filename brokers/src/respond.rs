//! The whole answer to a request, for hosts that call their policy synchronously: the `wasi:http` adapter and the Envoy
//! filter. They keep the transport. (The native host is asynchronous, and uses the same parts by itself.)

use std::borrow::Cow;

use crate::auth_request::{AuthRequest, AuthorizeRequest, Credentials};
use crate::cors;
use crate::dispatch::{RequestKind, UNMATCHED_ROUTE, not_found_text};
use crate::error::RequestError;
use crate::grant::{Authorizer, Grant, UnsupportedGrant};
use crate::parse::request::{Method, Request};
use crate::permission::Permission;
use crate::reply::{Outcome, Reply};
use crate::route::Route;
use crate::routes::Routes;
use crate::warning::ConfigWarning;

/// A policy, and the host around it.
pub trait PolicyCall {
    /// Why the policy denies a client.
    type Reason;
    /// Why a call gave no verdict. The client is denied.
    type Error: From<UnsupportedGrant>;

    /// May this client connect?
    ///
    /// # Errors
    /// The policy has no verdict.
    fn authenticate(&self, credentials: Credentials) -> Result<Verdict<Self::Reason>, Self::Error>;

    /// May this client do all of this? [`Permission::try_combine`] combines the calls for each access.
    ///
    /// # Errors
    /// The policy has no permission for one of the accesses.
    fn authorize(&self, request: AuthorizeRequest) -> Result<Permission, Self::Error>;

    /// Whether the policy answers authorize requests. Asked only about a grant of some topics.
    fn authorizer(&self) -> Authorizer;

    /// The current time, in seconds since 1970-01-01T00:00:00Z.
    fn now(&self) -> u64;

    /// The HTTP status and the text of the status page.
    fn status_page(&self) -> (u16, Cow<'static, str>);

    /// Records an event, for hosts that have a log. `route` is a path, or [`UNMATCHED_ROUTE`].
    fn record(&self, _route: &'static str, _event: Event<Self::Reason, Self::Error>) {}
}

/// A policy's answer to a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<R> {
    /// The client may connect.
    Allow(Grant),
    /// The client may not connect.
    Deny(R),
    /// The policy does not decide about the client.
    Ignore,
}

/// Something that operators want to know of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a, R, E> {
    /// The policy denied a login.
    Denied {
        /// The client identifier, as the client sent it.
        client_id: &'a str,
        /// Why.
        reason: R,
    },
    /// A call gave no verdict, or one that the broker cannot enforce. The client was denied.
    Error {
        /// The client identifier, as the client sent it.
        client_id: &'a str,
        /// Why.
        error: E,
    },
    /// The request could not be evaluated.
    Malformed(&'a RequestError),
    /// The broker's configuration looks wrong.
    Warning(&'a ConfigWarning),
}

/// A request, received in full or up to the limits.
pub struct HttpRequest<'a> {
    /// The kind of request.
    pub kind: RequestKind,
    /// The method.
    pub method: &'a str,
    /// The part of the URL after `?`.
    pub query: Option<&'a str>,
    /// Looks up a header by its name in lower case. Values are as [`crate::header_text`] returns them.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The whole body, or why there is none.
    pub body: Result<&'a [u8], RequestError>,
}

/// A response, ready to be sent. It has no `content-length`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The HTTP status.
    pub status: u16,
    /// Names and values of the headers.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Cow<'static, str>,
}

/// Answers one request.
pub fn respond<P: PolicyCall>(request: &HttpRequest, policy: &P) -> HttpResponse {
    match request.kind {
        RequestKind::Check(route, method) => {
            let response = HttpResponse::of(route, check(request, route, method, policy));
            let is_cross_origin = route.supports_cors() && (request.header)("origin").is_some();
            if is_cross_origin { response.with_cors() } else { response }
        }
        RequestKind::StatusPage if request.method == "OPTIONS" => HttpResponse::empty(204).with_cors(),
        RequestKind::StatusPage => {
            let (status, text) = policy.status_page();
            HttpResponse::text(status, text).with_cors()
        }
        RequestKind::Refused(route) => HttpResponse::of(route, reject(route, &RequestError::Route, policy)),
        RequestKind::NotFound => {
            // Brokers use POST. People, browsers and scanners use GET.
            if request.method == "POST" {
                policy.record(UNMATCHED_ROUTE, Event::Malformed(&RequestError::Route));
            }
            HttpResponse::text(404, not_found_text(&Routes::default()).into())
        }
    }
}

/// Answers a broker on its route.
fn check<P: PolicyCall>(request: &HttpRequest, route: Route, method: Option<Method>, policy: &P) -> Reply {
    let parsed = request.body.clone().and_then(|body| {
        let method = method.ok_or(RequestError::Method)?;
        route.parse(&Request { method, query: request.query, header: request.header, body })
    });
    match parsed {
        Ok(parsed) => {
            parsed.warnings.iter().for_each(|warning| policy.record(route.path(), Event::Warning(warning)));
            route.render(evaluate(route, parsed.request, policy))
        }
        Err(error) => reject(route, &error, policy),
    }
}

fn reject<P: PolicyCall>(route: Route, error: &RequestError, policy: &P) -> Reply {
    policy.record(route.path(), Event::Malformed(error));
    route.render(Outcome::Malformed(error))
}

/// Calls the policy.
fn evaluate<P: PolicyCall>(route: Route, request: AuthRequest, policy: &P) -> Outcome<'static> {
    let client_id = request.client_id().to_owned();
    let outcome = match request {
        AuthRequest::Authenticate(credentials) => authenticate(route, credentials, &client_id, policy),
        AuthRequest::Authorize(request) => policy.authorize(request).map(|permission| {
            if let Some(warning) = route.fallback_warning(permission, policy.authorizer()) {
                policy.record(route.path(), Event::Warning(&warning));
            }
            route.authorize_outcome(permission)
        }),
        AuthRequest::AlwaysDeny => Ok(Outcome::Deny),
    };
    // Fail closed: the one place where an error becomes an outcome.
    outcome.unwrap_or_else(|error| {
        policy.record(route.path(), Event::Error { client_id: &client_id, error });
        Outcome::Error
    })
}

fn authenticate<P: PolicyCall>(
    route: Route,
    credentials: Credentials,
    client_id: &str,
    policy: &P,
) -> Result<Outcome<'static>, P::Error> {
    Ok(match policy.authenticate(credentials)? {
        Verdict::Allow(grant) => Outcome::Allow(route.allow_login(&grant, policy.authorizer(), policy.now())?),
        Verdict::Deny(reason) => {
            policy.record(route.path(), Event::Denied { client_id, reason });
            Outcome::Deny
        }
        // There is no other policy to ask.
        Verdict::Ignore => Outcome::Deny,
    })
}

impl HttpResponse {
    fn of(route: Route, reply: Reply) -> Self {
        let mut headers = vec![("content-type", reply.content_type)];
        if reply.status == 405 {
            headers.push(("allow", route.methods()));
        }
        Self { status: reply.status, headers, body: reply.body }
    }

    fn text(status: u16, body: Cow<'static, str>) -> Self {
        Self { status, headers: vec![("content-type", "text/plain; charset=utf-8")], body }
    }

    fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Cow::Borrowed("") }
    }

    fn with_cors(mut self) -> Self {
        self.headers.extend(cors::HEADERS);
        self
    }
}

#[cfg(test)]
mod tests;
