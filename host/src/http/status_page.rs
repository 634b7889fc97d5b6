//! The status page for people, CORS preflight, and 404.

use axum::Router;
use axum::http::StatusCode;
use axum::routing;
use brokers::{CORS_HEADERS, Route, Routes};
use mqtt_gate_engine::{ActiveChain, Chain};

use crate::config::KEY_SETTING;

/// Answers everything on the brokers' port that is not a request of a broker.
pub(crate) fn router(active: ActiveChain, routes: Routes) -> Router {
    let page = move || async move { (CORS_HEADERS, text(&active.get())) };
    let preflight = || async { (StatusCode::NO_CONTENT, CORS_HEADERS) };
    let not_found = move || async move { (StatusCode::NOT_FOUND, brokers::not_found_text(&routes)) };
    Router::new().route(Route::MqttAuth.path(), routing::get(page).options(preflight)).fallback(not_found)
}

fn text(chain: &Chain) -> String {
    let policies = chain.members().iter().map(|member| {
        let active = member.active.get();
        format!(
            "policy: {name}, sha256 {digest}, generation {generation}, since {since}\n",
            name = active.policy.name(),
            digest = active.policy.digest(),
            generation = active.generation,
            since = humantime::format_rfc3339_seconds(active.since),
        )
    });
    let has_key = chain.members().iter().any(|member| member.active.load().policy.reads(KEY_SETTING));
    format!(
        "mqtt-gate {version} is running\n{policies}signature key: {key}\n",
        version = env!("CARGO_PKG_VERSION"),
        policies = policies.collect::<String>(),
        key = if has_key { "set" } else { "not set" },
    )
}
