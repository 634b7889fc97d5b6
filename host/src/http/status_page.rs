//! The status page for people, CORS preflight, and 404.

use axum::Router;
use axum::http::StatusCode;
use axum::routing;
use brokers::{CORS_HEADERS, Route, Routes};
use mqtt_gate_engine::{ActivePolicy, ActiveVersion};

use crate::config::KEY_SETTING;

/// Answers everything on the brokers' port that is not a request of a broker.
pub(crate) fn router(active: ActivePolicy, routes: Routes) -> Router {
    let page = move || async move { (CORS_HEADERS, text(&active.get())) };
    let preflight = || async { (StatusCode::NO_CONTENT, CORS_HEADERS) };
    let not_found = move || async move { (StatusCode::NOT_FOUND, brokers::not_found_text(&routes)) };
    Router::new().route(Route::MqttAuth.path(), routing::get(page).options(preflight)).fallback(not_found)
}

fn text(active: &ActiveVersion) -> String {
    let policy = &active.policy;
    format!(
        "mqtt-gate {version} is running\n\
         policy: {name}, sha256 {digest}, generation {generation}, since {since}\n\
         signature key: {key}\n",
        version = env!("CARGO_PKG_VERSION"),
        name = policy.name(),
        digest = policy.digest(),
        generation = active.generation,
        since = humantime::format_rfc3339_seconds(active.since),
        key = if policy.reads(KEY_SETTING) { "set" } else { "not set" },
    )
}
