//! Brokers that call the admin address: denied in the dialect of their route, and named in the warnings.

use std::time::SystemTime;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use brokers::{ADMIN_ADDRESS, Outcome, RequestError, Route, Routes};

use crate::telemetry::Telemetry;

/// Denies requests on the routes of brokers, before anything else is checked.
pub(super) fn deny(routes: Router, telemetry: Telemetry) -> Router {
    routes.layer(from_fn(move |request: Request, next: Next| {
        let telemetry = telemetry.clone();
        async move {
            let Some(route) = route_of_broker(&request) else { return next.run(request).await };
            let error = RequestError::AdminAddress;
            telemetry.record_malformed(ADMIN_ADDRESS, &error, SystemTime::now());
            let reply = route.render(Outcome::Malformed(&error));
            to_response(reply.status, reply.content_type, reply.body.into_owned())
        }
    }))
}

/// The route, if the request is one that brokers send.
fn route_of_broker(request: &Request) -> Option<Route> {
    let has_fields = request.method() == Method::POST || request.uri().query().is_some();
    Routes::default().find(request.uri().path()).filter(|_| has_fields)
}

fn to_response(status: u16, content_type: &'static str, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}
