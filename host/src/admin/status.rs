//! Fills the response of `/status`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::SystemTime;

use mqtt_gate_engine as engine;
use mqtt_gate_engine::chain::{Member, Mode};
use mqtt_gate_engine::util::file::displayable_path;
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{ActiveVersion, Chain, HistoryEventKind};

use super::state::AdminState;
use super::status_response::{
    BrokerCacheStatus, CallCounts, CompilingStatus, ConfigFileStatus, ConfigWarningStatus, ConnectionStatus,
    CredentialStatus, Durations, HandshakeFailureStatus, HistoryEvent, InstanceStatus, KeyCount, MemberStatus,
    MonitorExample, MonitorStatus, PolicyStatus, RejectedStatus, RejectionStatus, ReloadErrorStatus, RevocationStatus,
    StatusResponse, TenantStatus, TenantSummary, TenantsStatus, VerdictCounts,
};
use crate::decision::monitor::{Comparison, Example};
use crate::decision::{ChainEvaluator, DecisionCode, Operation};
use crate::emqx_api::cache_reset::BrokerProgress;
use crate::emqx_api::revocation::RevocationProgress;
use crate::http::site::Site;
use crate::security::CredentialHandle;
use crate::security::handshake_failures::HandshakeFailureCount;
use crate::telemetry::DecisionMetrics;
use crate::telemetry::config_warnings::WarningCount;
use crate::telemetry::counters::{BUCKETS_US, DecisionCount};

/// Tenants in the status. The page lists no more, and a gate may have thousands.
const MAX_LISTED_TENANTS: usize = 100;

/// Events in the status, as many as each policy keeps.
const MAX_EVENTS: usize = 32;

/// The status of a gate at `now`.
pub(super) fn response(state: &AdminState, now: SystemTime) -> StatusResponse {
    let metrics = &state.telemetry.metrics;
    let counts = metrics.counts();
    let chain = state.chain();
    let members: Vec<_> = chain.members().iter().map(|it| member(state, None, it)).collect();
    let first = members.first().cloned().unwrap_or_default();
    let (created, destroyed) = state.instances.counts();
    StatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        now: rfc3339(now),
        policy: first.policy,
        tenants: tenants(state),
        config_file: config_file(state),
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
        compiling: first.compiling,
        detached_files: detached_files(&chain),
        rejected: first.rejected,
        chain: members,
        broker_caches: state
            .cache_reset
            .progress()
            .into_iter()
            .map(|it| broker_caches(it, state.activations()))
            .collect(),
        revocation: state.cache_reset.revocation_progress().into_iter().map(revocation).collect(),
        credentials: state.credentials.iter().map(credential).collect(),
        handshake_failures: handshake_failures(state, now),
        history: chain_history(&chain),
    }
}

/// The status of one tenant.
pub(super) fn tenant(state: &AdminState, site: &Site<ChainEvaluator>) -> TenantStatus {
    let chain = site.evaluator.chain().get();
    TenantStatus {
        tenant: tenant_summary(site),
        chain: chain.members().iter().map(|it| member(state, site.tenant, it)).collect(),
        authorize: verdicts(site, Operation::Authorize),
        history: chain_history(&chain),
    }
}

/// The tenants in short: those with a problem first, then those with most logins.
fn tenants(state: &AdminState) -> TenantsStatus {
    let sites = state.sites.tenants();
    let mut list: Vec<_> = sites.values().map(|site| tenant_summary(site)).collect();
    list.sort_by_cached_key(|tenant| {
        let VerdictCounts { allow, deny, ignore } = tenant.authenticate;
        (tenant.problem.is_none(), Reverse(allow + deny + ignore), tenant.name.clone())
    });
    list.truncate(MAX_LISTED_TENANTS);
    TenantsStatus { count: sites.len(), list }
}

fn tenant_summary(site: &Site<ChainEvaluator>) -> TenantSummary {
    let chain = site.evaluator.chain().get();
    let errors = site.counters.iter().flat_map(|counters| counters.counts()).filter(|count| count.verdict == "error");
    TenantSummary {
        name: site.tenant.map(|name| name.as_str().to_owned()).unwrap_or_default(),
        policies: chain.members().len(),
        authenticate: verdicts(site, Operation::Authenticate),
        errors: errors.map(|count| count.count).sum(),
        instances: chain
            .members()
            .first()
            .map(|member| member.active.load().policy.instances_in_group())
            .unwrap_or_default(),
        problem: chain.members().iter().find_map(member_problem),
    }
}

/// The problem of a policy; `None`: it has none.
fn member_problem(member: &Member) -> Option<String> {
    let history = member.history.snapshot();
    if member.active.load().fails_every_call() {
        return Some(format!("policy {} fails every call", member.name));
    }
    history.on_hold.map(|part| format!("policy {}: the new {} was rejected", member.name, part.name()))
}

fn verdicts(site: &Site<ChainEvaluator>, operation: Operation) -> VerdictCounts {
    let mut verdicts = VerdictCounts::default();
    for count in site.counters.iter().flat_map(|counters| counters.counts()).filter(|it| it.operation == operation) {
        match count.verdict {
            "allow" => verdicts.allow += count.count,
            "deny" => verdicts.deny += count.count,
            "ignore" => verdicts.ignore += count.count,
            _ => {}
        }
    }
    verdicts
}

fn config_file(state: &AdminState) -> Option<ConfigFileStatus> {
    let file = state.config_file.snapshot();
    Some(ConfigFileStatus {
        since: rfc3339(file.since?),
        reloads: file.reloads,
        error: file.error.map(|(reason, at)| ReloadErrorStatus { reason, at: rfc3339(at) }),
        needs_restart: file.needs_restart,
    })
}

fn member(state: &AdminState, tenant: Option<Name>, member: &Member) -> MemberStatus {
    let (active, history) = (member.active.get(), member.history.snapshot());
    let is_monitor = member.mode == Mode::Monitor;
    MemberStatus {
        name: member.name.as_str().to_owned(),
        mode: if is_monitor { "monitor" } else { "enforce" }.to_owned(),
        when: (!member.when.is_empty()).then(|| member.when.to_string()),
        policy: policy(&active),
        compiling: history
            .loading
            .map(|loading| CompilingStatus { sha256: loading.digest.to_string(), since: rfc3339(loading.since) }),
        rejected: RejectedStatus {
            count: history.rejected,
            last: history.last_rejected.as_ref().map(rejection),
            on_hold: history.on_hold.map(|part| part.name().to_owned()),
        },
        fails_every_call: active.fails_every_call(),
        monitor: is_monitor.then(|| monitor(state.monitors.comparison(tenant, member.name), active.generation)),
    }
}

/// Differences that a monitor has found. None yet, if it was swapped since its last call.
fn monitor(comparison: Option<Comparison>, generation: u64) -> MonitorStatus {
    let found = comparison.filter(|it| it.generation == generation).unwrap_or_default();
    let example = |example: &Example| MonitorExample {
        at: rfc3339(example.at),
        client_id: example.client_id.clone(),
        kind: example.difference.name().to_owned(),
        reason: example.reason.to_owned(),
    };
    MonitorStatus {
        compared: found.compared,
        dropped: found.dropped,
        errors: found.errors,
        differences: found.differences.iter().map(|(kind, count)| (kind.name().to_owned(), *count)).collect(),
        examples: found.examples.iter().rev().map(example).collect(),
    }
}

fn detached_files(chain: &Chain) -> Vec<String> {
    let files = chain.members().iter().flat_map(|member| member.history.snapshot().detached_files);
    files.map(|file| displayable_path(&file).into_owned()).collect()
}

/// The events of all policies, the newest first.
fn chain_history(chain: &Chain) -> Vec<HistoryEvent> {
    let mut events: Vec<_> = chain
        .members()
        .iter()
        .flat_map(|member| {
            member.history.snapshot().events().map(|event| (member.name, event.clone())).collect::<Vec<_>>()
        })
        .collect();
    events.sort_by_key(|(_, event)| Reverse(event.at));
    events.truncate(MAX_EVENTS);
    events.iter().map(|(name, event)| history_event(*name, event)).collect()
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
        version: policy.description().map(|it| it.version.clone()),
        summary: policy.description().map(|it| it.summary.clone()),
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

fn broker_caches(BrokerProgress { api, progress }: BrokerProgress, activations: u64) -> BrokerCacheStatus {
    BrokerCacheStatus {
        api,
        generation: progress.generation,
        is_current: progress.generation == activations,
        enabled: progress.node_caches.enabled().into_iter().map(str::to_owned).collect(),
        error: progress.error.map(|(reason, since)| ReloadErrorStatus { reason, at: rfc3339(since) }),
    }
}

fn revocation(RevocationProgress { api, tenant, action, progress }: RevocationProgress) -> RevocationStatus {
    RevocationStatus {
        api,
        tenant: tenant.map(|tenant| tenant.as_str().to_owned()),
        action: action.name().to_owned(),
        generation: progress.generation,
        running: progress.is_running,
        since: progress.since.map(rfc3339),
        lacks_authorizer: progress.lacks_authorizer,
        without_authorizer: progress.lacking.into_iter().map(str::to_owned).collect(),
        examined: progress.examined,
        denied: progress.denied,
        kicked: progress.kicked,
        failed: progress.failed,
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

fn history_event(name: Name, event: &engine::HistoryEvent) -> HistoryEvent {
    let member = name.as_str().to_owned();
    match &event.kind {
        HistoryEventKind::Activated { name, digest, generation, settings_changed } => HistoryEvent::Activated {
            policy: member,
            at: rfc3339(event.at),
            name: name.clone(),
            sha256: digest.to_string(),
            generation: *generation,
            settings_changed: *settings_changed,
        },
        HistoryEventKind::Rejected(error) => HistoryEvent::Rejected { policy: member, rejection: rejection(error) },
        HistoryEventKind::Restored => HistoryEvent::Restored { policy: member, at: rfc3339(event.at) },
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
                    "event": "activated", "policy": "revoked", "at": "1970-01-01T00:00:01Z", "name": "auth-core",
                    "sha256": digest.to_string(), "generation": 2, "settings_changed": false,
                }),
            ),
            (
                HistoryEventKind::Rejected(rejection),
                json!({ "event": "rejected", "policy": "revoked", "at": "1970-01-01T00:00:01Z", "sha256": null, "reason": "no file" }),
            ),
            (
                HistoryEventKind::Restored,
                json!({ "event": "restored", "policy": "revoked", "at": "1970-01-01T00:00:01Z" }),
            ),
        ] {
            let event = engine::HistoryEvent { at, kind };
            assert_eq!(serde_json::to_value(history_event(Name::new("revoked").unwrap(), &event)).unwrap(), expected);
        }
    }

    #[test]
    fn a_time_before_1970_is_1970() {
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
    }
}
