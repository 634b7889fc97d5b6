//! Fills the response of `/status`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use mqtt_gate_engine as engine;
use mqtt_gate_engine::util::file::displayable_path;
use mqtt_gate_engine::{ActiveVersion, HistoryEventKind};

use super::state::AdminState;
use super::status_response::{
    BrokerCacheStatus, CallCounts, CompilingStatus, ConfigWarningStatus, ConnectionStatus, CredentialStatus, Durations,
    HandshakeFailureStatus, HistoryEvent, InstanceStatus, KeyCount, PolicyStatus, RejectedStatus, RejectionStatus,
    ReloadErrorStatus, StatusResponse,
};
use crate::decision::{DecisionCode, Operation};
use crate::emqx_api::cache_reset::BrokerProgress;
use crate::security::CredentialHandle;
use crate::security::handshake_failures::HandshakeFailureCount;
use crate::telemetry::DecisionMetrics;
use crate::telemetry::config_warnings::WarningCount;
use crate::telemetry::counters::{BUCKETS_US, DecisionCount};

/// The status of a gate at `now`.
pub(super) fn response(state: &AdminState, now: SystemTime) -> StatusResponse {
    let metrics = &state.telemetry.metrics;
    let counts = metrics.counts();
    let history = state.history.snapshot();
    let (created, destroyed) = state.instances.counts();
    StatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        now: rfc3339(now),
        policy: policy(&state.active.get()),
        authenticate: calls(&counts, Operation::Authenticate),
        authorize: calls(&counts, Operation::Authorize),
        reasons: login_reasons(&counts),
        details: denial_details(metrics),
        keys: metrics.logins_by_key().into_iter().map(|(id, logins)| KeyCount { id, logins }).collect(),
        durations: Durations {
            bucket_upper_bounds_us: BUCKETS_US.to_vec(),
            authenticate: metrics.durations(Operation::Authenticate).buckets,
        },
        denied_without_policy: total(&counts, DecisionCode::AlwaysDenied),
        malformed_requests: metrics.malformed(),
        unsupported_grants: total(&counts, DecisionCode::UnsupportedGrant),
        connections: ConnectionStatus {
            open: state.connections.open(),
            limit: state.connections.max(),
            queued: state.connections.queued(),
            buffered: state.buffer_limit.used(),
            buffered_limit: state.buffer_limit.max(),
            evicted: state.buffer_limit.evicted(),
        },
        instances: InstanceStatus {
            alive: created.saturating_sub(destroyed),
            created,
            memory: state.policy_memory.used(),
            memory_limit: state.policy_memory.max(),
        },
        config_warnings: state.telemetry.warnings.snapshot(now).into_iter().map(config_warning).collect(),
        compiling: history
            .loading
            .map(|loading| CompilingStatus { sha256: loading.digest.to_string(), since: rfc3339(loading.since) }),
        detached_files: history.detached_files.iter().map(|file| displayable_path(file).into_owned()).collect(),
        rejected: RejectedStatus {
            count: history.rejected,
            last: history.last_rejected.as_ref().map(rejection),
            on_hold: history.on_hold.map(|part| part.name().to_owned()),
        },
        broker_caches: state
            .cache_reset
            .progress()
            .into_iter()
            .map(|it| broker_caches(it, &state.active.get()))
            .collect(),
        credentials: state.credentials.iter().map(credential).collect(),
        handshake_failures: handshake_failures(state, now),
        history: history.events().map(history_event).collect(),
    }
}

fn policy(active: &ActiveVersion) -> PolicyStatus {
    let policy = &active.policy;
    PolicyStatus {
        name: policy.name().to_owned(),
        sha256: policy.digest().to_string(),
        generation: active.generation,
        since: rfc3339(active.since),
        origin: active.origin.name().to_owned(),
        contract: policy.contract().to_string(),
        has_authorizer: policy.has_authorizer(),
        unused_settings: policy.unused_settings().into_iter().map(str::to_owned).collect(),
    }
}

/// Calls of the policy for one operation.
fn calls(counts: &[DecisionCount], operation: Operation) -> CallCounts {
    let mut calls = CallCounts::default();
    let called = |count: &&DecisionCount| count.operation == operation && count.code != DecisionCode::AlwaysDenied;
    for DecisionCount { code, count, .. } in counts.iter().filter(called) {
        calls.calls += count;
        *match code {
            DecisionCode::Allow => &mut calls.verdicts.allow,
            DecisionCode::Ignore => &mut calls.verdicts.ignore,
            code if code.is_error() => &mut calls.errors,
            _ => &mut calls.verdicts.deny,
        } += count;
    }
    calls
}

fn login_reasons(counts: &[DecisionCount]) -> BTreeMap<String, u64> {
    let mut reasons = BTreeMap::new();
    for count in counts.iter().filter(|count| count.operation == Operation::Authenticate) {
        if !count.code.reason().is_empty() {
            *reasons.entry(count.code.reason().to_owned()).or_default() += count.count;
        }
    }
    reasons
}

fn denial_details(metrics: &DecisionMetrics) -> BTreeMap<String, u64> {
    let details = metrics.denials_by_detail().into_iter();
    details.map(|(detail, count)| (detail.unwrap_or_else(|| "others".to_owned()), count)).collect()
}

fn total(counts: &[DecisionCount], code: DecisionCode) -> u64 {
    counts.iter().filter(|count| count.code == code).map(|count| count.count).sum()
}

fn config_warning(warning: WarningCount) -> ConfigWarningStatus {
    let WarningCount { route, kind, field, count, last, is_current, problem, hint } = warning;
    ConfigWarningStatus {
        route: route.to_owned(),
        kind: kind.to_owned(),
        field,
        count,
        last: rfc3339(last),
        is_current,
        problem,
        hint: hint.to_owned(),
    }
}

fn broker_caches(BrokerProgress { api, progress }: BrokerProgress, active: &ActiveVersion) -> BrokerCacheStatus {
    BrokerCacheStatus {
        api,
        generation: progress.generation,
        is_current: progress.generation == active.generation,
        enabled: progress.node_caches.enabled().into_iter().map(str::to_owned).collect(),
        error: progress.error.map(|(reason, since)| ReloadErrorStatus { reason, at: rfc3339(since) }),
    }
}

fn credential(credential: &CredentialHandle) -> CredentialStatus {
    CredentialStatus {
        name: credential.name.to_owned(),
        kind: if credential.is_certificate() { "certificate" } else { "secret" }.to_owned(),
        expires: credential.expires().map(rfc3339),
        reload_error: credential
            .reload_error()
            .map(|error| ReloadErrorStatus { reason: error.reason, at: rfc3339(error.at) }),
    }
}

fn handshake_failures(state: &AdminState, now: SystemTime) -> Vec<HandshakeFailureStatus> {
    let counts = state
        .handshake_failures
        .iter()
        .flat_map(|(listener, failures)| failures.counts(now).into_iter().map(move |count| (*listener, count)));
    let status = |(listener, failure): (&str, HandshakeFailureCount)| HandshakeFailureStatus {
        listener: listener.to_owned(),
        cause: failure.cause.name().to_owned(),
        count: failure.count,
        last: rfc3339(failure.last),
        is_current: failure.is_current,
        problem: failure.cause.problem().to_owned(),
        hint: failure.cause.hint().to_owned(),
    };
    counts.map(status).collect()
}

fn rejection(rejection: &engine::Rejection) -> RejectionStatus {
    RejectionStatus {
        sha256: rejection.digest.map(|digest| digest.to_string()),
        reason: rejection.reason.clone(),
        at: rfc3339(rejection.at),
    }
}

fn history_event(event: &engine::HistoryEvent) -> HistoryEvent {
    match &event.kind {
        HistoryEventKind::Activated { name, digest, generation, settings_changed } => HistoryEvent::Activated {
            at: rfc3339(event.at),
            name: name.clone(),
            sha256: digest.to_string(),
            generation: *generation,
            settings_changed: *settings_changed,
        },
        HistoryEventKind::Rejected(error) => HistoryEvent::Rejected(rejection(error)),
        HistoryEventKind::Restored => HistoryEvent::Restored { at: rfc3339(event.at) },
    }
}

/// Formats a time. Times before 1970 become 1970.
fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time.max(SystemTime::UNIX_EPOCH)).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use mqtt_gate_engine::Digest;
    use serde_json::json;

    use super::*;
    use crate::telemetry::tests::decision;

    fn counts(codes: &[(Operation, DecisionCode)]) -> Vec<DecisionCount> {
        let metrics = DecisionMetrics::default();
        for &(operation, code) in codes {
            let mut decision = decision(code);
            decision.operation = operation;
            metrics.record(&decision);
        }
        metrics.record_always_denied(brokers::Route::MosquittoSuperuser);
        metrics.counts()
    }

    #[test]
    fn calls_are_counted_by_operation_and_verdict() {
        use DecisionCode::{ActionDenied, Allow, Banned, Deadline, Ignore, UnsupportedGrant};
        use Operation::{Authenticate, Authorize};
        let counts = counts(&[
            (Authenticate, Allow),
            (Authenticate, Allow),
            (Authenticate, Banned),
            (Authenticate, Ignore),
            (Authenticate, Deadline),
            (Authenticate, UnsupportedGrant),
            (Authorize, ActionDenied),
            (Authorize, Deadline),
        ]);
        let calls = |operation| serde_json::to_value(calls(&counts, operation)).unwrap();
        let expected = json!({ "calls": 6, "verdicts": { "allow": 2, "deny": 1, "ignore": 1 }, "errors": 2 });
        assert_eq!(calls(Authenticate), expected);
        let expected = json!({ "calls": 2, "verdicts": { "allow": 0, "deny": 1, "ignore": 0 }, "errors": 1 });
        assert_eq!(calls(Authorize), expected, "requests without a call are not counted");
        assert_eq!((total(&counts, DecisionCode::AlwaysDenied), total(&counts, UnsupportedGrant)), (1, 1));
        let reasons = login_reasons(&counts);
        let expected = [("banned", 1), ("deadline", 1), ("unsupported-grant", 1)];
        assert_eq!(reasons, expected.map(|(reason, count)| (reason.to_owned(), count)).into());
    }

    #[test]
    fn events_have_their_documented_members() {
        let digest = Digest::of(b"policy");
        let at = UNIX_EPOCH + Duration::from_secs(1);
        let rejection = engine::Rejection { digest: None, reason: "no file".to_owned(), at };
        let activated = HistoryEventKind::Activated {
            name: "auth-core".to_owned(),
            digest,
            generation: 2,
            settings_changed: false,
        };
        for (kind, expected) in [
            (
                activated,
                json!({
                    "event": "activated", "at": "1970-01-01T00:00:01Z", "name": "auth-core",
                    "sha256": digest.to_string(), "generation": 2, "settings_changed": false,
                }),
            ),
            (
                HistoryEventKind::Rejected(rejection),
                json!({ "event": "rejected", "at": "1970-01-01T00:00:01Z", "sha256": null, "reason": "no file" }),
            ),
            (HistoryEventKind::Restored, json!({ "event": "restored", "at": "1970-01-01T00:00:01Z" })),
        ] {
            let event = engine::HistoryEvent { at, kind };
            assert_eq!(serde_json::to_value(history_event(&event)).unwrap(), expected);
        }
    }

    #[test]
    fn a_time_before_1970_is_1970() {
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
    }
}
