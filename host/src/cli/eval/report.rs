//! Output of `mqtt-gate eval`. It never contains credentials.

use std::fmt;
use std::time::Duration;

use brokers::UnsupportedGrant;
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::util::sanitize;
use mqtt_gate_engine::{Access, CallError, Denial, Effect, Grant, Policy, QosLevels, Rule, RuleAction, Verdict};
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::{Rows, format_unix};

/// Longest name or value that is printed of what a policy chose.
const MAX_PRINTED_CHARS: usize = 256;

/// The verdict on one login.
#[derive(Serialize)]
pub(super) struct EvalReport {
    verdict: VerdictKind,
    /// Why the client is denied, or the kind of the error.
    reason: Option<&'static str>,
    /// The policy's own code for a denial.
    detail: Option<String>,
    error: Option<String>,
    grant: Option<GrantReport>,
    policy: PolicyReport,
    duration_us: Durations,
}

/// A verdict, or `error` if the policy returned none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum VerdictKind {
    Allow,
    Deny,
    Ignore,
    Error,
}

/// A call without a usable verdict.
pub(super) struct Failure {
    reason: &'static str,
    error: String,
}

#[derive(Serialize)]
struct GrantReport {
    /// `everything`, `only` the topics, `rules` or `broker-rules`.
    access: &'static str,
    publish: Vec<String>,
    subscribe: Vec<String>,
    rules: Vec<RuleReport>,
    /// In seconds since 1970.
    expires_at: Option<u64>,
    key_id: Option<String>,
    attributes: Vec<Attribute>,
    extensions: Vec<Attribute>,
}

#[derive(Serialize)]
struct RuleReport {
    /// `allow` or `deny`.
    effect: &'static str,
    /// `publish`, `subscribe` or `both`.
    action: &'static str,
    filter: String,
    /// `null`: every level.
    qos: Option<Vec<u8>>,
    /// `null`: retained messages and others.
    retain: Option<bool>,
}

#[derive(Serialize)]
struct Attribute {
    name: String,
    value: String,
}

#[derive(Serialize)]
pub(super) struct PolicyReport {
    /// The operator's name for it; absent if it is the only policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'static str>,
    name: String,
    sha256: String,
}

impl PolicyReport {
    pub(super) fn new(member: Option<Name>, policy: &Policy) -> Self {
        let member = member.map(Name::as_str);
        Self { member, name: policy.name().to_owned(), sha256: policy.digest().to_string() }
    }
}

/// Durations of the two calls, in microseconds.
#[derive(Serialize)]
pub(super) struct Durations {
    first: f64,
    second: Option<f64>,
}

impl Durations {
    pub(super) fn new(first: Duration, second: Option<Duration>) -> Self {
        Self { first: microseconds(first), second: second.map(microseconds) }
    }
}

/// Rounds to a tenth of a microsecond, about the precision of the clock.
fn microseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let text = error.policy_text().map(|text| format!(": {text}")).unwrap_or_default();
        Self { reason: error.code(), error: sanitize::error_chain(&error) + &text }
    }
}

impl From<UnsupportedGrant> for Failure {
    fn from(error: UnsupportedGrant) -> Self {
        Self { reason: "unsupported-grant", error: sanitize::error_chain(&error) }
    }
}

impl EvalReport {
    pub(super) fn new(policy: PolicyReport, verdict: Result<Verdict, Failure>, duration_us: Durations) -> Self {
        let report = Self {
            verdict: VerdictKind::Ignore,
            reason: None,
            detail: None,
            error: None,
            grant: None,
            policy,
            duration_us,
        };
        match verdict {
            Ok(Verdict::Allow(grant)) => Self { verdict: VerdictKind::Allow, grant: Some(grant.into()), ..report },
            Ok(Verdict::Deny(Denial { reason, detail })) => {
                Self { verdict: VerdictKind::Deny, reason: Some(reason.name()), detail, ..report }
            }
            Ok(Verdict::Ignore) => report,
            Err(Failure { reason, error }) => {
                Self { verdict: VerdictKind::Error, reason: Some(reason), error: Some(error), ..report }
            }
        }
    }

    pub(super) fn exit(&self) -> Exit {
        match self.verdict {
            VerdictKind::Allow => Exit::Ok,
            VerdictKind::Deny | VerdictKind::Ignore => Exit::Rejected,
            VerdictKind::Error => Exit::Software,
        }
    }

    fn headline(&self) -> String {
        let reason = self.reason.unwrap_or_default();
        match self.verdict {
            VerdictKind::Allow => "allow".to_owned(),
            VerdictKind::Deny => format!("deny: {reason}"),
            VerdictKind::Ignore => "ignore: denied, unless another authenticator of the broker allows it".to_owned(),
            VerdictKind::Error => {
                format!("error: {reason}: {}; a gate denies this client", self.error.as_deref().unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for EvalReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut rows = Rows::new(9);
        if let Some(detail) = &self.detail {
            rows.add("detail", detail);
        }
        if let Some(grant) = &self.grant {
            grant.add_to(&mut rows);
        }
        rows.add("policy", format_args!("{}, sha256 {}", self.policy.name, self.policy.sha256));
        let Durations { first, second } = &self.duration_us;
        let second = second.map(|second| format!(", second call {second:.1} µs")).unwrap_or_default();
        rows.add("duration", format_args!("{first:.1} µs{second}"));
        write!(f, "{}\n{rows}", self.headline())
    }
}

impl GrantReport {
    fn add_to(&self, rows: &mut Rows) {
        match self.access {
            "everything" => rows.add("topics", "all"),
            "broker-rules" => rows.add("topics", "the broker's own rules apply"),
            "rules" => rows.add_all("rules", &self.rules),
            _ => {
                rows.add("publish", format_topics(&self.publish));
                rows.add("subscribe", format_topics(&self.subscribe));
            }
        }
        if let Some(expires_at) = self.expires_at {
            rows.add("expires", format_unix(expires_at));
        }
        if let Some(key_id) = &self.key_id {
            rows.add("key", escape(key_id));
        }
        for Attribute { name, value } in &self.attributes {
            rows.add("attribute", format_args!("{}={}", escape(name), escape(value)));
        }
        for Attribute { name, value } in &self.extensions {
            rows.add("extension", format_args!("{}={}", escape(name), escape(value)));
        }
    }
}

impl From<Grant> for GrantReport {
    fn from(grant: Grant) -> Self {
        let (mut publish, mut subscribe, mut rules) = (Vec::new(), Vec::new(), Vec::new());
        let access = match grant.access {
            Access::Everything => "everything",
            Access::Only(topics) => {
                (publish, subscribe) = (topics.publish, topics.subscribe);
                "only"
            }
            Access::Rules(list) => {
                rules = list.into_iter().map(Into::into).collect();
                "rules"
            }
            Access::BrokerRules => "broker-rules",
        };
        let list = |pairs: Vec<_>| pairs.into_iter().map(|(name, value)| Attribute { name, value }).collect();
        let (attributes, extensions) = (list(grant.attributes), list(grant.extensions));
        let (expires_at, key_id) = (grant.expires_at, grant.key_id);
        Self { access, publish, subscribe, rules, expires_at, key_id, attributes, extensions }
    }
}

impl From<Rule> for RuleReport {
    fn from(rule: Rule) -> Self {
        let levels = [QosLevels::AT_MOST_ONCE, QosLevels::AT_LEAST_ONCE, QosLevels::EXACTLY_ONCE];
        Self {
            effect: match rule.effect {
                Effect::Allow => "allow",
                Effect::Deny => "deny",
            },
            action: match rule.action {
                RuleAction::Publish => "publish",
                RuleAction::Subscribe => "subscribe",
                RuleAction::Both => "both",
            },
            filter: rule.filter,
            qos: rule.qos.map(|qos| {
                let numbered = (0..).zip(levels).filter(|(_, level)| qos.contains(*level));
                numbered.map(|(number, _)| number).collect()
            }),
            retain: rule.retain,
        }
    }
}

impl fmt::Display for RuleReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { effect, action, filter, .. } = self;
        write!(f, "{effect} {action} {}", escape(filter))?;
        if let Some(qos) = &self.qos {
            write!(f, ", qos {}", qos.iter().map(u8::to_string).collect::<Vec<_>>().join(" "))?;
        }
        match self.retain {
            Some(true) => f.write_str(", retained"),
            Some(false) => f.write_str(", not retained"),
            None => Ok(()),
        }
    }
}

fn format_topics(topics: &[String]) -> String {
    if topics.is_empty() {
        return "none".to_owned();
    }
    topics.iter().map(|topic| escape(topic)).collect::<Vec<_>>().join("  ")
}

fn escape(text: &str) -> String {
    sanitize::escape(text, MAX_PRINTED_CHARS)
}

#[cfg(test)]
mod tests {
    use mqtt_gate_engine::DenyReason;
    use serde_json::json;

    use super::*;

    fn report(verdict: Result<Verdict, Failure>) -> EvalReport {
        let policy = PolicyReport { member: None, name: "p".to_owned(), sha256: "00".to_owned() };
        EvalReport::new(policy, verdict, Durations { first: 21.1, second: None })
    }

    fn grant() -> Grant {
        let attributes = vec![("group".to_owned(), "a\nb".to_owned())];
        let (access, extensions) = (Access::BrokerRules, Vec::new());
        Grant { access, expires_at: Some(0), key_id: Some("2026-11".to_owned()), attributes, extensions }
    }

    fn denial(detail: Option<&str>) -> Verdict {
        Verdict::Deny(Denial { reason: DenyReason::Banned, detail: detail.map(str::to_owned) })
    }

    #[test]
    fn each_verdict_has_its_headline_and_exit_code() {
        let failure = Failure { reason: "trap", error: "the policy trapped".to_owned() };
        for (verdict, headline, exit) in [
            (Ok(Verdict::Allow(grant())), "allow\n", Exit::Ok),
            (Ok(denial(None)), "deny: banned\n", Exit::Rejected),
            (Ok(denial(Some("stolen-device"))), "deny: banned\ndetail     stolen-device\n", Exit::Rejected),
            (Ok(Verdict::Ignore), "ignore: denied, unless another authenticator", Exit::Rejected),
            (Err(failure), "error: trap: the policy trapped; a gate denies this client\n", Exit::Software),
        ] {
            let report = report(verdict);
            assert!(report.to_string().starts_with(headline), "{report}");
            assert_eq!(report.exit(), exit, "{headline}");
        }
    }

    #[test]
    fn a_grant_is_printed_row_by_row() {
        let text = report(Ok(Verdict::Allow(grant()))).to_string();
        let expected = "\
allow
topics     the broker's own rules apply
expires    1970-01-01T00:00:00Z
key        2026-11
attribute  group=a\\nb
policy     p, sha256 00
duration   21.1 µs";
        assert_eq!(text, expected);
    }

    #[test]
    fn rules_and_extensions_are_printed_row_by_row() {
        let rule = |effect, action, qos, retain| Rule { effect, action, filter: "a/#".to_owned(), qos, retain };
        let qos = QosLevels::AT_MOST_ONCE | QosLevels::EXACTLY_ONCE;
        let access = Access::Rules(vec![
            rule(Effect::Deny, RuleAction::Both, None, None),
            rule(Effect::Allow, RuleAction::Publish, Some(qos), Some(true)),
        ]);
        let extensions = vec![("emqx/zone-override".to_owned(), "slow".to_owned())];
        let text = report(Ok(Verdict::Allow(Grant { access, extensions, ..grant() }))).to_string();
        let rules = "rules      deny both a/#\n           allow publish a/#, qos 0 2, retained\n";
        assert!(text.contains(rules) && text.contains("extension  emqx/zone-override=slow\n"), "{text}");
    }

    #[test]
    fn json_has_every_member_whatever_the_verdict() {
        let failure = Failure { reason: "deadline", error: "too slow".to_owned() };
        let expected = json!({
            "verdict": "error", "reason": "deadline", "detail": null, "error": "too slow", "grant": null,
            "policy": { "name": "p", "sha256": "00" }, "duration_us": { "first": 21.1, "second": null },
        });
        assert_eq!(serde_json::to_value(report(Err(failure))).unwrap(), expected);
    }

    #[test]
    fn durations_are_rounded_to_a_tenth() {
        assert_eq!(microseconds(Duration::from_nanos(21_149)), 21.1);
    }
}
