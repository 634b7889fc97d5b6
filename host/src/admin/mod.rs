//! What the operator asks, on a listener of its own. Nothing that is asked here changes anything.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Json, Router, routing};
use tokio::sync::watch;

use crate::net::accept::Places;
use mqtt_gate_engine::reload::active::ActivePolicy;
use mqtt_gate_engine::policy::instance_count::Census;
use crate::reload::history::History;
use crate::http::Told;
use crate::security::Condition;
use crate::admin::status::Status;
use crate::util::shutdown::Stopping;
use crate::{LostLines, metrics, page};

/// What the answers are made of.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) active: ActivePolicy,
    pub(crate) history: watch::Receiver<History>,
    pub(crate) told: Told,
    pub(crate) places: Places,
    pub(crate) census: Arc<Census>,
    /// What stands before both addresses.
    pub(crate) safeguards: Vec<Condition>,
    pub(crate) lost_lines: LostLines,
    pub(crate) stopping: Stopping,
}

impl Admin {
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/livez", routing::get(|| async { "alive\n" }))
            .route("/readyz", routing::get(readyz))
            .route("/status", routing::get(|State(admin): State<Admin>| async move { Json(Status::of(&admin)) }))
            .route("/metrics", routing::get(metrics))
            .merge(page::router())
            .with_state(self)
    }
}

/// A policy serves for as long as the gate runs, so it is ready until it is told to stop.
async fn readyz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.stopping.is_said() { (StatusCode::SERVICE_UNAVAILABLE, "stopping\n") } else { (StatusCode::OK, "ready\n") }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::of(&admin))
}
