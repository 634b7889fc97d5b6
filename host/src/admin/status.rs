//! What `/status` tells. Never a credential, a key or the value of a setting.

use std::time::SystemTime;

use serde::Serialize;

use crate::admin::Admin;
use crate::telemetry::config_warnings::Finding;
use crate::reload::history::{Event, Rejection, What};
use crate::security::reloadable::Refusal;
use crate::security::Condition;

mod counts;

use counts::Counts;

/// The answer of `/status`.
#[derive(Serialize)]
pub(crate) struct Status {
    version: &'static str,
    /// When this was told.
    now: String,
    policy: PolicyStatus,
    #[serde(flatten)]
    counts: Counts,
    connections: ConnectionStatus,
    instances: InstanceStatus,
    /// What looks wrong in the configuration of the brokers that ask.
    misconfigured: Vec<FindingStatus>,
    rejected: RejectedStatus,
    /// What stands before the addresses, by its name in the configuration.
    safeguards: Vec<SafeguardStatus>,
    /// What happened to the policy in service, the last of it first.
    history: Vec<EventStatus>,
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

/// Of all policies, candidates included.
#[derive(Serialize)]
struct InstanceStatus {
    alive: u64,
    made: u64,
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

#[derive(Serialize)]
struct SafeguardStatus {
    name: &'static str,
    /// `certificate` or `secret`.
    kind: &'static str,
    /// When a certificate ends, as far as that can be read; a secret does not.
    expires: Option<String>,
    /// Why its files are not in use, which hold something else since.
    refused: Option<RefusalStatus>,
}

#[derive(Serialize)]
struct RefusalStatus {
    reason: String,
    at: String,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum EventStatus {
    Serves {
        at: String,
        name: String,
        sha256: String,
        generation: u64,
        settings_changed: bool,
    },
    Rejected(RejectionStatus),
    /// What lies there is again what serves.
    Restored {
        at: String,
    },
}

impl Status {
    /// What there is to tell now.
    pub(crate) fn of(admin: &Admin) -> Self {
        let serving = admin.active.get();
        let policy = &serving.policy;
        let history = admin.history.borrow().clone();
        let last = history.last_rejected.as_ref().map(RejectionStatus::from);
        let (made, dropped) = admin.census.counts();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            now: rfc3339(SystemTime::now()),
            policy: PolicyStatus {
                name: policy.name().to_owned(),
                sha256: policy.digest().to_string(),
                generation: serving.generation,
                since: rfc3339(serving.since),
                from: serving.from.name(),
                answers_for_actions: policy.can_authorize(),
                settings_not_read: policy.unread_settings().into_iter().map(str::to_owned).collect(),
            },
            counts: Counts::of(&admin.told.tally),
            connections: ConnectionStatus {
                open: admin.places.open(),
                most: admin.places.most(),
                waits: admin.places.waits(),
            },
            instances: InstanceStatus { alive: made.saturating_sub(dropped), made },
            misconfigured: admin.told.findings.all().into_iter().map(FindingStatus::from).collect(),
            rejected: RejectedStatus { count: history.rejected, last },
            safeguards: admin.safeguards.iter().map(SafeguardStatus::from).collect(),
            history: history.events().map(EventStatus::from).collect(),
        }
    }
}

impl From<Finding> for FindingStatus {
    fn from(finding: Finding) -> Self {
        let Finding { route, kind, member, count, last, problem, remedy } = finding;
        Self { route, kind, member, count, last: rfc3339(last), problem, remedy }
    }
}

impl From<&Condition> for SafeguardStatus {
    fn from(condition: &Condition) -> Self {
        let told = |Refusal { reason, at, .. }| RefusalStatus { reason, at: rfc3339(at) };
        Self {
            name: condition.name,
            kind: if condition.is_certificate() { "certificate" } else { "secret" },
            expires: condition.expires().map(rfc3339),
            refused: condition.refused().map(told),
        }
    }
}

impl From<&Rejection> for RejectionStatus {
    fn from(rejection: &Rejection) -> Self {
        Self {
            sha256: rejection.digest.map(|digest| digest.to_string()),
            reason: rejection.reason.clone(),
            at: rfc3339(rejection.at),
        }
    }
}

impl From<&Event> for EventStatus {
    fn from(event: &Event) -> Self {
        match &event.what {
            What::Serves { name, digest, generation, settings_changed } => Self::Serves {
                at: rfc3339(event.at),
                name: name.clone(),
                sha256: digest.to_string(),
                generation: *generation,
                settings_changed: *settings_changed,
            },
            What::Rejected(rejection) => Self::Rejected(rejection.into()),
            What::Restored => Self::Restored { at: rfc3339(event.at) },
        }
    }
}

/// A clock before 1970 is at its beginning.
fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time.max(SystemTime::UNIX_EPOCH)).to_string()
}
