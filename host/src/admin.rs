//! What the operator asks, on a listener of its own.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router, routing};
use serde::Serialize;
use tokio::sync::watch;

use crate::acceptor::Places;
use crate::active::ActivePolicy;
use crate::findings::{Finding, Findings};
use crate::reload::{Rejection, Rejections};
use crate::stop::Stopping;
use crate::tally::{Counts, Tally};

/// What the answers are made of.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) active: ActivePolicy,
    pub(crate) rejections: watch::Receiver<Rejections>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) findings: Arc<Findings>,
    pub(crate) places: Places,
    pub(crate) stopping: Stopping,
}

/// The answer of `/status`.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    policy: PolicyStatus,
    #[serde(flatten)]
    counts: Counts,
    connections: ConnectionStatus,
    /// What looks wrong in the configuration of the brokers that ask.
    misconfigured: Vec<FindingStatus>,
    rejected: RejectedStatus,
}

#[derive(Serialize)]
struct PolicyStatus {
    name: String,
    sha256: String,
    generation: u64,
    since: String,
    /// Where its component comes from: the program, the file, or what served last.
    from: &'static str,
    /// Whether it answers for single actions; if not, they are left to the broker.
    answers_for_actions: bool,
    /// Names alone.
    settings_not_read: Vec<String>,
}

/// Of brokers.
#[derive(Serialize)]
struct ConnectionStatus {
    open: usize,
    most: usize,
    /// How often one had to wait for a place.
    waits: u64,
}

#[derive(Serialize)]
struct FindingStatus {
    route: &'static str,
    kind: &'static str,
    member: Option<String>,
    count: u64,
    last: String,
    problem: String,
    remedy: &'static str,
}

#[derive(Serialize)]
struct RejectedStatus {
    count: u64,
    last: Option<RejectionStatus>,
}

#[derive(Serialize)]
struct RejectionStatus {
    sha256: Option<String>,
    reason: String,
    at: String,
}

impl Admin {
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/livez", routing::get(|| async { "alive\n" }))
            .route("/readyz", routing::get(readyz))
            .route("/status", routing::get(status))
            .with_state(self)
    }
}

/// A policy serves for as long as the gate runs, so it is ready until it is told to stop.
async fn readyz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.stopping.is_said() { (StatusCode::SERVICE_UNAVAILABLE, "stopping\n") } else { (StatusCode::OK, "ready\n") }
}

async fn status(State(admin): State<Admin>) -> Json<Status> {
    let serving = admin.active.get();
    let policy = &serving.policy;
    let rejections = admin.rejections.borrow().clone();
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        policy: PolicyStatus {
            name: policy.name().to_owned(),
            sha256: policy.digest().to_string(),
            generation: serving.generation,
            since: rfc3339(serving.since),
            from: serving.from.name(),
            answers_for_actions: policy.can_authorize(),
            settings_not_read: policy.unread_settings().into_iter().map(str::to_owned).collect(),
        },
        counts: admin.tally.counts(),
        connections: ConnectionStatus {
            open: admin.places.open(),
            most: admin.places.most(),
            waits: admin.places.waits(),
        },
        misconfigured: admin.findings.all().into_iter().map(FindingStatus::from).collect(),
        rejected: RejectedStatus { count: rejections.count, last: rejections.last.map(RejectionStatus::from) },
    })
}

impl From<Finding> for FindingStatus {
    fn from(finding: Finding) -> Self {
        let Finding { route, kind, member, count, last, problem, remedy } = finding;
        Self { route, kind, member, count, last: rfc3339(last), problem, remedy }
    }
}

impl From<Rejection> for RejectionStatus {
    fn from(rejection: Rejection) -> Self {
        Self {
            sha256: rejection.digest.map(|digest| digest.to_string()),
            reason: rejection.reason,
            at: rfc3339(rejection.at),
        }
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
