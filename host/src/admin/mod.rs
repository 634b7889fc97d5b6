//! Routes for operators, on their own listener. All of them are read-only.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};

pub(crate) mod auth;
mod broker_request;
mod dashboard;
mod evictable;
mod host;
pub(crate) mod listener;
mod metrics;
pub(crate) mod state;
mod status;
pub mod status_response;
pub(crate) mod thread;

use state::AdminState;

use crate::security::SecretVerifier;
use crate::telemetry::Telemetry;

/// How often logins are counted for the dashboard.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the count of logins of each second, until the task is dropped.
pub(crate) async fn record_rates(telemetry: Telemetry) {
    let mut seconds = tokio::time::interval(RATE_INTERVAL);
    loop {
        seconds.tick().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        telemetry.rates.record(telemetry.metrics.login_totals(), now);
    }
}

/// The routes, for operators with the token. Without a token, `allowed_hosts` are the public names of this address.
pub(crate) fn protected_router(state: AdminState, token: SecretVerifier, allowed_hosts: &[String]) -> Router {
    let (denials, telemetry) = (Arc::clone(&state.denials), state.telemetry.clone());
    let routes = router(state);
    let routes = if token.is_enabled() {
        auth::require_token(routes, token, denials)
    } else {
        host::require_known_host(routes, allowed_hosts)
    };
    broker_request::deny(routes, telemetry)
}

fn router(state: AdminState) -> Router {
    Router::new()
        .route("/livez", routing::get(|| async { "alive\n" }))
        .route("/readyz", routing::get(readyz))
        .route("/status", routing::get(status))
        .route("/metrics", routing::get(metrics))
        .route("/rates", routing::get(rates))
        .merge(dashboard::router())
        .with_state(state)
}

/// The gate always has an active policy, so it is ready until it shuts down, unless the policy fails every call.
async fn readyz(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    if state.shutdown.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if state.chain().fails_every_call() {
        (StatusCode::SERVICE_UNAVAILABLE, "the policy fails every call; the log says why\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

/// The status of the gate, or of one tenant: `/status?tenant=NAME`.
async fn status(State(state): State<AdminState>, RawQuery(query): RawQuery) -> Response {
    let Some(name) = query.as_deref().and_then(|query| query.strip_prefix("tenant=")) else {
        return Json(status::response(&state, SystemTime::now())).into_response();
    };
    match state.sites.tenant(name) {
        Some(site) => Json(status::tenant(&state, &site)).into_response(),
        None => (StatusCode::NOT_FOUND, "no such tenant\n").into_response(),
    }
}

/// Logins of each second of the last two hours, for the dashboard.
async fn rates(State(state): State<AdminState>) -> impl IntoResponse {
    Json(state.telemetry.rates.snapshot())
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::encode(state))
}
