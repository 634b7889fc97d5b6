//! What is asked of the brokers' port besides questions: whether the gate is there, and what browsers may do.

use axum::Router;
use axum::http::StatusCode;
use axum::routing;
use brokers::{CROSS_ORIGIN, Route};

use mqtt_gate_engine::reload::active::{ActivePolicy, InService};
use crate::config::KEY_SETTING;

/// Answers everything that is no question.
pub(crate) fn router(active: ActivePolicy) -> Router {
    let status = move || async move { (CROSS_ORIGIN, status_text(&active.get())) };
    let options = || async { (StatusCode::NO_CONTENT, CROSS_ORIGIN) };
    let elsewhere = || async { (StatusCode::NOT_FOUND, brokers::no_such_route()) };
    Router::new().route(Route::MqttAuth.path(), routing::get(status).options(options)).fallback(elsewhere)
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
