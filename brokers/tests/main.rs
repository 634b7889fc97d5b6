//! The dialects from outside: what is read, what is answered, and what each broker makes of the answer.
//!
//! `broker_models` says how brokers read replies. It was written from what they were measured to do, and not from the code that
//! renders; `vectors` holds it against the measurements.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod broker_models;
mod dispatch;
mod generators;
mod grants;
mod parsing;
mod properties;
mod rabbitmq;
mod vectors;

use brokers::{AuthRequest, Method, Parsed, Request, RequestError, Route};

/// What a route reads in a request with these headers.
fn read(
    route: Route,
    method: Method,
    query: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Parsed, RequestError> {
    let header = |name: &str| headers.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    route.parse(&Request { method, query, header: &header, body })
}

fn read_json(route: Route, body: &str) -> Result<Parsed, RequestError> {
    read(route, Method::Post, None, &[("content-type", "application/json")], body.as_bytes())
}

fn read_form(route: Route, body: &str) -> Result<Parsed, RequestError> {
    read(route, Method::Post, None, &[("content-type", "application/x-www-form-urlencoded")], body.as_bytes())
}

fn read_query(route: Route, query: &str) -> Result<Parsed, RequestError> {
    read(route, Method::Get, Some(query), &[], b"")
}

/// Without `Debug`, so that no failure shows a password.
fn problem(read: Result<Parsed, RequestError>) -> RequestError {
    read.err().expect("should be refused")
}

fn question(read: Result<Parsed, RequestError>) -> AuthRequest {
    read.unwrap_or_else(|problem| panic!("should be read: {problem}")).request
}

fn login(read: Result<Parsed, RequestError>) -> brokers::Credentials {
    match question(read) {
        AuthRequest::Authenticate(who) => who,
        AuthRequest::Authorize(_) | AuthRequest::AlwaysDeny => panic!("should ask for a login"),
    }
}

fn actions(read: Result<Parsed, RequestError>) -> brokers::AuthorizeRequest {
    match question(read) {
        AuthRequest::Authorize(what) => what,
        AuthRequest::Authenticate(_) | AuthRequest::AlwaysDeny => panic!("should ask for an action"),
    }
}
