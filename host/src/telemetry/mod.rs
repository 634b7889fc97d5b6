//! Records of the gate's decisions: counters, the decision log, traces and the log.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use brokers::{ConfigWarning, RequestError, Route};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::util::sanitize;

use crate::decision::{Decision, DecisionCode, Operation};

pub(crate) mod config_warnings;
pub(crate) mod counters;
pub(crate) mod decision_log;
mod line_writer;
pub mod log;
pub(crate) mod otel;
pub(crate) mod rate_history;
pub(crate) mod tenant_counters;

pub(crate) use config_warnings::ConfigWarnings;
pub(crate) use counters::DecisionMetrics;
pub(crate) use decision_log::DecisionLog;
pub use decision_log::DecisionLogError;
pub use otel::TraceError;
pub(crate) use otel::Traces;
pub(crate) use rate_history::RateHistory;

/// Longer client ids are cut in log lines.
const MAX_LOGGED_CHARS: usize = 128;

/// Everything that records decisions. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Telemetry {
    pub(crate) metrics: Arc<DecisionMetrics>,
    pub(crate) warnings: Arc<ConfigWarnings>,
    pub(crate) rates: Arc<RateHistory>,
    pub(crate) decision_log: Option<Arc<DecisionLog>>,
    pub(crate) traces: Option<Arc<Traces>>,
    /// Counts lines of the log that were dropped.
    pub(crate) dropped_log_lines: Arc<AtomicU64>,
}

impl Telemetry {
    /// Records a decision everywhere.
    pub(crate) fn record(&self, decision: &Decision) {
        self.metrics.record(decision);
        if let Some(log) = &self.decision_log {
            log.write(decision);
        }
        if let Some(traces) = &self.traces {
            traces.record(decision);
        }
        log_decision(decision);
        if let Some(warning) = &decision.warning {
            self.warnings.record_warning(decision.route, warning, decision.at);
        }
    }

    /// Logs that a client is locked out from now on.
    pub(crate) fn log_lockout(&self, decision: &Decision) {
        let client_id = sanitize::escape(&decision.client_id, MAX_LOGGED_CHARS);
        let hint = "if it is a device, give it a valid credential; [lockout] sets the limits";
        let tenant = decision.tenant.map(Name::as_str);
        tracing::warn!(client_id, route = decision.route.path(), tenant, hint, "client locked out");
    }

    /// Records a request that is always denied, without a call of the policy.
    pub(crate) fn record_always_denied(&self, route: Route) {
        self.metrics.record_always_denied(route);
    }

    /// Records a request that cannot be parsed. `route` is a path or [`brokers::UNMATCHED_ROUTE`].
    pub(crate) fn record_malformed(&self, route: &'static str, error: &RequestError, now: SystemTime) {
        self.metrics.record_malformed();
        self.warnings.record_malformed(route, error, now);
    }

    /// Records a request to a path that is not a route.
    pub(crate) fn record_unrouted(&self, path: &str, now: SystemTime) {
        self.metrics.record_malformed();
        self.warnings.record_unrouted(path, now);
    }

    /// Records a request that was parsed, and the probable mistakes in the configuration of its broker.
    pub(crate) fn record_parsed(&self, route: Route, mistakes: &[ConfigWarning], now: SystemTime) {
        mistakes.iter().for_each(|mistake| self.warnings.record_warning(route, mistake, now));
        self.warnings.record_right(route, mistakes);
    }
}

/// Writes the log line of a decision. A client makes one login and many publish and subscribe checks, so only failed
/// calls of the latter are logged at the default level.
fn log_decision(decision: &Decision) {
    let Decision { operation, code, error, .. } = decision;
    let (route, policy, reason) = (decision.route.path(), decision.policy.digest, code.reason());
    let (name, tenant) = (decision.policy.name.as_str(), decision.tenant.map(Name::as_str));
    let client_id = || sanitize::escape(&decision.client_id, MAX_LOGGED_CHARS);
    match (operation, code) {
        (_, code) if code.is_error() => {
            tracing::warn!(client_id = client_id(), reason, error, route, tenant, name, %policy, "error");
        }
        (Operation::Authorize, code) => {
            tracing::debug!(
                client_id = client_id(),
                verdict = code.verdict(),
                route,
                tenant,
                name,
                "authorization checked"
            );
        }
        (Operation::Authenticate, DecisionCode::Allow) => {
            tracing::debug!(client_id = client_id(), route, tenant, name, "allowed");
        }
        (Operation::Authenticate, DecisionCode::Ignore) => {
            tracing::info!(client_id = client_id(), reason = "ignore", route, tenant, %policy, "denied");
        }
        (Operation::Authenticate, _) => {
            let detail = decision.detail.as_deref();
            tracing::info!(client_id = client_id(), reason, detail, route, tenant, name, %policy, "denied");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use brokers::Outcome;
    use mqtt_gate_engine::Digest;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::decision::PolicyRef;

    /// A login of client `c` on `/emqx/auth` that took 3.2 µs, 1,000,000 seconds after 1970.
    pub(crate) fn decision(code: DecisionCode) -> Decision {
        Decision {
            operation: Operation::Authenticate,
            route: Route::EmqxAuth,
            client_id: "c".to_owned(),
            code,
            detail: None,
            tenant: None,
            policy: PolicyRef {
                name: Name::new("policy").unwrap(),
                digest: Digest::of(b"policy"),
                generation: 3,
                activations: 3,
                authorizer: brokers::Authorizer::Absent,
            },
            key_id: None,
            error: None,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
            duration: Duration::from_nanos(3_200),
            trace_parent: None,
            outcome: Outcome::Deny,
            warning: None,
        }
    }

    /// Collects log lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn logged(decision: &Decision) -> serde_json::Value {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || log_decision(decision));
        serde_json::from_slice(&lines.0.lock().unwrap()).unwrap()
    }

    #[test]
    fn each_kind_of_decision_has_its_log_line() {
        let error = Decision { error: Some("the policy trapped: unreachable".into()), ..decision(DecisionCode::Trap) };
        let check = Decision { operation: Operation::Authorize, ..decision(DecisionCode::ActionDenied) };
        let failed_check = Decision { operation: Operation::Authorize, ..decision(DecisionCode::Deadline) };
        for (decision, level, message, reason) in [
            (&decision(DecisionCode::Allow), "DEBUG", "allowed", None),
            (&decision(DecisionCode::Banned), "INFO", "denied", Some("banned")),
            (&decision(DecisionCode::Ignore), "INFO", "denied", Some("ignore")),
            (&error, "WARN", "error", Some("trap")),
            (&check, "DEBUG", "authorization checked", None),
            (&failed_check, "WARN", "error", Some("deadline")),
        ] {
            let line = logged(decision);
            let fields = (line["level"].as_str(), line["message"].as_str(), line["reason"].as_str());
            assert_eq!(fields, (Some(level), Some(message), reason), "{line}");
            assert_eq!((&line["client_id"], &line["route"]), (&"c".into(), &"/emqx/auth".into()));
        }
        assert_eq!(logged(&error)["error"], "the policy trapped: unreachable");
        let denied = Decision { detail: Some("stolen-device".to_owned()), ..decision(DecisionCode::Banned) };
        assert_eq!(logged(&denied)["detail"], "stolen-device");
    }

    #[test]
    fn a_client_id_is_escaped_and_cut() {
        let odd = Decision { client_id: format!("a\n{}", "x".repeat(200)), ..decision(DecisionCode::Banned) };
        let client_id = logged(&odd)["client_id"].as_str().unwrap().to_owned();
        assert!(client_id.starts_with("a\\nxxx") && client_id.ends_with("x…"), "{client_id}");
    }

    #[test]
    fn a_decision_that_shows_a_wrong_configuration_is_a_warning() {
        for (warning, kinds) in [(Some(ConfigWarning::NoFallbackRules), &["no-fallback-rules"][..]), (None, &[])] {
            let telemetry = Telemetry::default();
            telemetry.record(&Decision { warning, ..decision(DecisionCode::Ignore) });
            let warnings = telemetry.warnings.snapshot(SystemTime::UNIX_EPOCH);
            assert_eq!(warnings.iter().map(|warning| warning.kind).collect::<Vec<_>>(), kinds);
        }
    }

    #[test]
    fn malformed_requests_are_counted_and_reported() {
        let telemetry = Telemetry::default();
        telemetry.record_malformed(brokers::UNMATCHED_ROUTE, &RequestError::Route, SystemTime::UNIX_EPOCH);
        assert_eq!(telemetry.metrics.malformed(), 1);
        assert_eq!(telemetry.warnings.snapshot(SystemTime::UNIX_EPOCH)[0].kind, "no-such-route");
    }
}
