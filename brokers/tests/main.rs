//! The dialects from outside: how requests are parsed, how outcomes are rendered, and how each broker reads the reply.
//!
//! `broker_models` models how brokers read replies. It was written from measurements of real brokers, and independently
//! of the code that renders replies. `vectors` compares it with the recorded measurements.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot continue has failed"
)]

mod broker_models;
mod dispatch;
mod emqx_versions;
mod generators;
mod grants;
mod parsing;
mod properties;
mod rabbitmq;
mod rules;
mod vectors;

use brokers::{AuthRequest, Method, Parsed, Request, RequestError, Route};

/// Parses a request with these headers on a route.
fn parse(
    route: Route,
    method: Method,
    query: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Parsed, RequestError> {
    let header = |name: &str| headers.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    route.parse(&Request { method, query, header: &header, body })
}

fn parse_json(route: Route, body: &str) -> Result<Parsed, RequestError> {
    parse(route, Method::Post, None, &[("content-type", "application/json")], body.as_bytes())
}

fn parse_form(route: Route, body: &str) -> Result<Parsed, RequestError> {
    parse(route, Method::Post, None, &[("content-type", "application/x-www-form-urlencoded")], body.as_bytes())
}

fn parse_query(route: Route, query: &str) -> Result<Parsed, RequestError> {
    parse(route, Method::Get, Some(query), &[], b"")
}

/// The error. `expect_err` would need `Debug`, and a failure could show a password.
fn error_of(parsed: Result<Parsed, RequestError>) -> RequestError {
    parsed.err().expect("should be an error")
}

fn request_of(parsed: Result<Parsed, RequestError>) -> AuthRequest {
    parsed.unwrap_or_else(|error| panic!("should be parsed: {error}")).request
}

fn credentials_of(parsed: Result<Parsed, RequestError>) -> brokers::Credentials {
    match request_of(parsed) {
        AuthRequest::Authenticate(credentials) => credentials,
        AuthRequest::Authorize(_) | AuthRequest::AlwaysDeny => panic!("should be a login"),
    }
}

fn authorize_request_of(parsed: Result<Parsed, RequestError>) -> brokers::AuthorizeRequest {
    match request_of(parsed) {
        AuthRequest::Authorize(request) => request,
        AuthRequest::Authenticate(_) | AuthRequest::AlwaysDeny => panic!("should be an ACL request"),
    }
}
