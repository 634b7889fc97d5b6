//! `mqtt-gate status`

use std::path::PathBuf;

use clap::Args;
use mqtt_gate::config::Config;
use mqtt_gate::emqx_api::NODE_CACHE_HINT;
use mqtt_gate::status_response::{
    BrokerCacheStatus, CallCounts, ConfigFileStatus, ConfigWarningStatus, CredentialStatus, HandshakeFailureStatus,
    MemberStatus, MonitorStatus, RejectedStatus, RevocationStatus, StatusResponse, TenantsStatus,
};

use super::client::ClientArgs;
use super::error::CliError;
use super::exit::Exit;
use super::output::{self, Rows, format_age, format_policy};

/// Flags of `status`.
#[derive(Args)]
#[command(after_help = "Examples:
  mqtt-gate status
  mqtt-gate status --admin 10.0.0.7:8004 --token-file /run/secrets/admin_token
  mqtt-gate status --json | jq -r .policy.sha256

Exit codes:
  0   the gate responded
  64  the address is not the admin address of a gate, or the gate requires a token
  70  the gate cannot be reached")]
pub(crate) struct Status {
    /// Take the admin address from this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
    /// Print the gate's response, as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let config = self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
        let client = self.client.client(&config)?;
        let status = client.status()?;
        if self.json {
            output::print_json(&status.json)?;
        } else {
            output::print_text(rows(client.url().trim_end_matches("/status"), &status.response))?;
        }
        Ok(Exit::Ok)
    }
}

fn rows(address: &str, status: &StatusResponse) -> Rows {
    let StatusResponse { policy, connections, now, .. } = status;
    let mut rows = Rows::new(15);
    rows.add("gate", format_args!("{address}, version {}", status.version));
    if status.chain.len() > 1 {
        status.chain.iter().for_each(|member| add_member(&mut rows, member, now));
    } else {
        rows.add("active", format_policy(policy));
        rows.add("since", with_age(&policy.since, now));
    }
    rows.add("authenticate", format_counts(&status.authenticate));
    if policy.has_authorizer || status.chain.iter().any(|member| member.policy.has_authorizer) {
        rows.add("authorize", format_counts(&status.authorize));
    } else {
        rows.add("authorize", "left to the broker");
    }
    rows.add("always denied", status.denied_without_policy);
    rows.add("malformed", status.malformed_requests);
    rows.add(
        "connections",
        format_args!("{} of {}, {} queued", connections.open, connections.limit, connections.queued),
    );
    if connections.evicted > 0 {
        rows.add("evicted", format_args!("{}: unfinished requests reached limits.max_buffered", connections.evicted));
    }
    if status.chain.len() < 2 && !policy.unused_settings.is_empty() {
        rows.add("unused settings", policy.unused_settings.join(", "));
    }
    if let Some(compiling) = status.compiling.as_ref().filter(|_| status.chain.len() < 2) {
        let since = with_age(&compiling.since, now);
        rows.add("compiling", format_args!("sha256 {}, since {since}", compiling.sha256));
    }
    for file in &status.detached_files {
        rows.add("WARNING", format_args!("{file} was replaced outside its mount; no change of it is seen"));
        rows.add("", "mount the directory of the file instead of the file, and restart the gate");
    }
    if status.chain.len() < 2 {
        add_rejected(&mut rows, &status.rejected, now);
    }
    add_tenants(&mut rows, &status.tenants);
    if let Some(file) = &status.config_file {
        add_config_file(&mut rows, file, now);
    }
    status.broker_caches.iter().for_each(|caches| add_broker_caches(&mut rows, caches, now));
    status.revocation.iter().for_each(|revocation| add_revocation(&mut rows, revocation, now));
    status.credentials.iter().for_each(|credential| add_credential(&mut rows, credential));
    status.handshake_failures.iter().for_each(|failure| add_handshake_failure(&mut rows, failure));
    let (current, past): (Vec<_>, Vec<_>) = status.config_warnings.iter().partition(|warning| warning.is_current);
    past.into_iter().for_each(|warning| add_past_warning(&mut rows, warning));
    current.into_iter().for_each(|warning| add_warning(&mut rows, warning));
    rows
}

/// One of several policies.
fn add_member(rows: &mut Rows, member: &MemberStatus, now: &str) {
    let MemberStatus { name, mode, when, policy, compiling, rejected, fails_every_call, monitor } = member;
    let mode = if mode == "monitor" { " (monitor)" } else { "" };
    rows.add("policy", format_args!("{name}{mode}: {}", format_policy(policy)));
    rows.add("", format_args!("since {}", with_age(&policy.since, now)));
    if let Some(when) = when {
        rows.add("", format_args!("when {when}"));
    }
    if !policy.unused_settings.is_empty() {
        rows.add("", format_args!("unused settings: {}", policy.unused_settings.join(", ")));
    }
    if let Some(compiling) = compiling {
        rows.add("", format_args!("compiling sha256 {}, since {}", compiling.sha256, with_age(&compiling.since, now)));
    }
    if *fails_every_call {
        rows.add("WARNING", format_args!("{name} fails every call; the log says why"));
    }
    if let Some(MonitorStatus { compared, dropped, errors, differences, .. }) = monitor {
        let kinds: Vec<_> = differences.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let kinds = if kinds.is_empty() { "no differences".to_owned() } else { kinds.join(", ") };
        rows.add("", format_args!("compared {compared}: {kinds}; {errors} errors, {dropped} not compared"));
    }
    if rejected.count > 0 {
        add_rejected(rows, rejected, now);
    }
}

fn add_tenants(rows: &mut Rows, tenants: &TenantsStatus) {
    if tenants.count == 0 {
        return;
    }
    let in_trouble: Vec<_> = tenants.list.iter().filter_map(|it| Some((&it.name, it.problem.as_ref()?))).collect();
    rows.add("tenants", tenants.count);
    for (name, problem) in in_trouble {
        rows.add("WARNING", format_args!("tenant {name}: {problem}"));
    }
}

fn add_config_file(rows: &mut Rows, file: &ConfigFileStatus, now: &str) {
    rows.add("configuration", format_args!("read {}", with_age(&file.since, now)));
    if let Some(error) = &file.error {
        rows.add("WARNING", format_args!("the configuration file was rejected {}", with_age(&error.at, now)));
        rows.add("", &error.reason);
    }
    if !file.needs_restart.is_empty() {
        rows.add("WARNING", format_args!("restart the gate to apply: {}", file.needs_restart.join(", ")));
    }
}

fn with_age(since: &str, now: &str) -> String {
    format_age(since, now).map_or_else(|| since.to_owned(), |age| format!("{since}, {age} ago"))
}

fn format_counts(counts: &CallCounts) -> String {
    let CallCounts { calls, verdicts, errors } = counts;
    let ignored = if verdicts.ignore > 0 { format!(", {} ignored", verdicts.ignore) } else { String::new() };
    format!("{calls}: {} allowed, {} denied{ignored}, {errors} errors", verdicts.allow, verdicts.deny)
}

fn add_rejected(rows: &mut Rows, rejected: &RejectedStatus, now: &str) {
    rows.add("rejected", rejected.count);
    if let Some(last) = &rejected.last {
        let sha256 = last.sha256.as_deref().map_or_else(|| "unreadable file".to_owned(), |it| format!("sha256 {it}"));
        rows.add("", format_args!("last: {sha256}, {}", with_age(&last.at, now)));
        rows.add("", &last.reason);
    }
    if let Some(part) = &rejected.on_hold {
        rows.add("WARNING", format_args!("on hold: {part}; the last rejection says why"));
        rows.add("", "correct the policy file or its settings, or restore the previous ones");
    }
}

fn add_broker_caches(rows: &mut Rows, caches: &BrokerCacheStatus, now: &str) {
    let BrokerCacheStatus { api, generation, is_current, enabled, error } = caches;
    match error {
        _ if *is_current => rows.add("broker caches", format_args!("{api}, reset for generation {generation}")),
        None => rows.add("broker caches", format_args!("{api}, reset in progress")),
        Some(error) => {
            rows.add("WARNING", format_args!("{api}: caches not reset since {}", with_age(&error.at, now)));
            rows.add("", &error.reason);
            rows.add("", "EMQX 6 may answer by a policy that was replaced, for up to a minute; the gate keeps trying");
        }
    }
    if !enabled.is_empty() {
        rows.add("WARNING", format_args!("{api}: node cache is on for {}", enabled.join(" and ")));
        rows.add("", NODE_CACHE_HINT);
    }
}

fn add_revocation(rows: &mut Rows, revocation: &RevocationStatus, now: &str) {
    let RevocationStatus {
        api,
        action,
        running,
        lacks_authorizer,
        without_authorizer,
        since,
        examined,
        denied,
        kicked,
        failed,
        error,
        ..
    } = revocation;
    if *lacks_authorizer {
        rows.add("WARNING", format_args!("{api}: no policy has an authorizer, so no connected client is revoked"));
        return rows.add("", "use policies with an authorizer, or mqtt-gate kick");
    }
    let outcome = match action.as_str() {
        "report" => "none disconnected, as on_revoke says".to_owned(),
        _ => format!("{kicked} disconnected"),
    };
    let text = match since {
        None => "no sweep yet".to_owned(),
        Some(since) => {
            let state = if *running { "in progress since" } else { "of" };
            let since = with_age(since, now);
            format!("sweep {state} {since}: {examined} examined, {denied} denied, {outcome}")
        }
    };
    rows.add("revocation", format_args!("{api}, {text}"));
    if !without_authorizer.is_empty() {
        let policies = without_authorizer.join(", ");
        rows.add("", format_args!("not asked about connected clients, without an authorizer: {policies}"));
    }
    if let Some(error) = error {
        rows.add("WARNING", format_args!("{api}: revocation fails since {}", with_age(&error.at, now)));
        rows.add("", &error.reason);
        rows.add("", "revoked clients may stay connected; the gate keeps trying");
    }
    if *failed > 0 {
        rows.add(
            "WARNING",
            format_args!("{api}: the policies failed for {failed} connected clients, which stay connected"),
        );
        rows.add("", "correct the policy; the log has the first error");
    }
}

fn add_credential(rows: &mut Rows, credential: &CredentialStatus) {
    let CredentialStatus { name, kind, expires, reload_error } = credential;
    let expires = expires.as_ref().map(|expires| format!(", expires {expires}")).unwrap_or_default();
    rows.add("secured by", format_args!("{name}, a {kind}{expires}"));
    if let Some(error) = reload_error {
        rows.add("WARNING", format_args!("reload of {name} failed at {}; the previous version stays in use", error.at));
        rows.add("", &error.reason);
    }
}

fn add_handshake_failure(rows: &mut Rows, failure: &HandshakeFailureStatus) {
    let HandshakeFailureStatus { listener, count, last, is_current, problem, hint, .. } = failure;
    let text = format!("{listener}: {count} handshakes failed, last {last}: {problem}");
    if *is_current {
        rows.add("WARNING", text);
        rows.add("", hint);
    } else {
        rows.add("resolved", text);
    }
}

fn add_warning(rows: &mut Rows, warning: &ConfigWarningStatus) {
    rows.add("WARNING", format_warning(warning));
    rows.add("", &warning.hint);
}

/// A warning that is over: requests of the route have been right since then.
fn add_past_warning(rows: &mut Rows, warning: &ConfigWarningStatus) {
    rows.add("resolved", format_warning(warning));
}

fn format_warning(warning: &ConfigWarningStatus) -> String {
    let ConfigWarningStatus { route, field, count, last, problem, .. } = warning;
    let field = field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
    let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
    format!("{route}{field}: {problem}, {times}, last {last}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn text(mut changes: Value) -> String {
        let mut status = json!({
            "version": "0.1.0",
            "now": "2026-11-22T10:00:06Z",
            "policy": { "name": "auth-core", "sha256": "00", "generation": 2, "since": "2026-11-22T10:00:00Z" },
        });
        status.as_object_mut().unwrap().append(changes.as_object_mut().unwrap());
        rows("http://127.0.0.1:8004", &serde_json::from_value(status).unwrap()).to_string()
    }

    #[test]
    fn the_least_status_has_every_ordinary_row() {
        let expected = "\
gate             http://127.0.0.1:8004, version 0.1.0
active           auth-core, sha256 00, generation 2
since            2026-11-22T10:00:00Z, 6s ago
authenticate     0: 0 allowed, 0 denied, 0 errors
authorize        left to the broker
always denied    0
malformed        0
connections      0 of 0, 0 queued
rejected         0";
        assert_eq!(text(json!({})), expected);
    }

    #[test]
    fn a_policy_that_is_being_compiled_has_a_row() {
        let text = text(json!({ "compiling": { "sha256": "11", "since": "2026-11-22T10:00:02Z" } }));
        assert!(text.contains("\ncompiling        sha256 11, since 2026-11-22T10:00:02Z, 4s ago\n"), "{text}");
    }

    #[test]
    fn caches_of_a_broker_are_reset_or_a_warning() {
        let caches = |is_current, enabled: &[&str], error: Value| {
            text(json!({ "broker_caches": [{
                "api": "http://emqx:18083", "generation": 2, "is_current": is_current, "enabled": enabled, "error": error,
            }] }))
        };
        let error = json!({ "reason": "cannot reach it", "at": "2026-11-22T10:00:02Z" });
        let current = caches(true, &[], json!(null));
        assert!(current.ends_with("\nbroker caches    http://emqx:18083, reset for generation 2"), "{current}");
        let pending = caches(false, &[], json!(null));
        assert!(pending.ends_with("\nbroker caches    http://emqx:18083, reset in progress"), "{pending}");
        let failed = caches(false, &[], error);
        assert!(
            failed.contains(
                "\nWARNING          http://emqx:18083: caches not reset since 2026-11-22T10:00:02Z, 4s ago\n"
            ),
            "{failed}"
        );
        let enabled = caches(true, &["authentication", "authorization"], json!(null));
        assert!(
            enabled.contains(
                "\nWARNING          http://emqx:18083: node cache is on for authentication and authorization\n"
            ),
            "{enabled}"
        );
    }

    #[test]
    fn a_sweep_has_a_row_and_its_problems_are_warnings() {
        let sweep = |mut changes: Value| {
            let mut sweep = json!({ "api": "http://e", "since": "then", "examined": 7, "denied": 3, "kicked": 2 });
            sweep.as_object_mut().unwrap().append(changes.as_object_mut().unwrap());
            text(json!({ "revocation": [sweep] }))
        };
        let finished = sweep(json!({}));
        let row = "\nrevocation       http://e, sweep of then: 7 examined, 3 denied, 2 disconnected";
        assert!(finished.ends_with(row), "{finished}");
        let running = sweep(json!({ "running": true, "error": { "reason": "cannot reach it", "at": "then" } }));
        let rows = "sweep in progress since then: 7 examined, 3 denied, 2 disconnected\nWARNING          http://e: revocation fails since then\n";
        assert!(running.contains(rows), "{running}");
        let failed = sweep(json!({ "failed": 4 }));
        assert!(
            failed.contains("\nWARNING          http://e: the policies failed for 4 connected clients"),
            "{failed}"
        );
        let skipped = sweep(json!({ "lacks_authorizer": true }));
        assert!(skipped.contains("\nWARNING          http://e: no policy has an authorizer"), "{skipped}");
        let lacking = sweep(json!({ "without_authorizer": ["a"], "action": "report" }));
        let rows = "none disconnected, as on_revoke says\n                 not asked about connected clients, without an authorizer: a";
        assert!(lacking.ends_with(rows), "{lacking}");
        assert!(sweep(json!({ "since": null })).ends_with("\nrevocation       http://e, no sweep yet"));
    }

    #[test]
    fn problems_come_last_with_what_to_do() {
        let text = text(json!({
            "authenticate": { "calls": 6, "verdicts": { "allow": 1, "deny": 2, "ignore": 3 }, "errors": 0 },
            "rejected": { "count": 1, "last": { "sha256": null, "reason": "not a component", "at": "then" } },
            "credentials": [
                { "name": "access.broker_secret", "kind": "secret" },
                {
                    "name": "tls", "kind": "certificate", "expires": "2027-01-01T00:00:00Z",
                    "reload_error": { "reason": "no certificate", "at": "then" },
                },
            ],
            "config_warnings": [
                { "route": "/emqx/auth", "field": "peerhost", "count": 1, "last": "then", "problem": "literal", "hint": "fix" },
                { "route": "/mqtt/auth", "count": 9, "last": "before", "problem": "was wrong", "hint": "-", "is_current": false },
                { "route": "/vernemq", "count": 2, "last": "then", "problem": "wrong", "hint": "mend" },
            ],
        }));
        for rows in [
            "authenticate     6: 1 allowed, 2 denied, 3 ignored, 0 errors\n",
            "rejected         1\n                 last: unreadable file, then\n                 not a component\n",
            "secured by       access.broker_secret, a secret\n",
            "secured by       tls, a certificate, expires 2027-01-01T00:00:00Z\n\
             WARNING          reload of tls failed at then; the previous version stays in use\n                 no certificate\n",
            "resolved         /mqtt/auth: was wrong, 9 times, last before\nWARNING ",
            "WARNING          /emqx/auth peerhost: literal, once, last then\n                 fix\n",
        ] {
            assert!(text.contains(rows), "{rows}: {text}");
        }
        assert!(
            text.ends_with("WARNING          /vernemq: wrong, 2 times, last then\n                 mend"),
            "{text}"
        );
    }
}
