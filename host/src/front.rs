//! What is asked of the brokers' port besides questions: whether the gate is there, and what browsers may do.

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderName};
use axum::response::IntoResponse;
use axum::routing;
use brokers::Route;

use crate::active::{ActivePolicy, InService};
use crate::config::KEY_SETTING;

/// The methods of the route for people and browsers.
pub(crate) const METHODS: &str = "GET, POST, OPTIONS";

/// What the endpoint that this one replaces meant to tell browsers.
pub(crate) const CROSS_ORIGIN: [(HeaderName, &str); 3] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "client-id, content-type, device-id"),
];

/// Answers everything that is no question.
pub(crate) fn router(active: ActivePolicy) -> Router {
    let status = move || async move { (CROSS_ORIGIN, status_text(&active.get())) };
    let options = || async { (StatusCode::NO_CONTENT, CROSS_ORIGIN) };
    Router::new().route(Route::MqttAuth.path(), routing::get(status).options(options)).fallback(|| async {
        let paths: Vec<_> = Route::ALL.into_iter().map(Route::path).collect();
        (StatusCode::NOT_FOUND, format!("no such route; brokers ask on {}\n", paths.join(", "))).into_response()
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
