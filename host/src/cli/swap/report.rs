//! Output of `swap` and `rollback`.

use std::fmt;
use std::path::Path;

use mqtt_gate::status_response::{BrokerCacheStatus, PolicyStatus};
use serde::Serialize;

use crate::cli::output::{Rows, format_policy};

/// Result of a swap.
#[derive(Serialize)]
pub(super) struct SwapReport {
    #[serde(flatten)]
    pub(super) outcome: Outcome,
    /// The file that the gate watches.
    pub(super) file: String,
    /// The active policy before the swap.
    pub(super) before: PolicyStatus,
    /// The active policy after the swap.
    pub(super) after: PolicyStatus,
    /// The policy that a rollback would restore, if this swap kept one.
    pub(super) previous: Option<PreviousPolicy>,
    /// Caches of the brokers whose API the gate calls.
    pub(super) broker_caches: Vec<BrokerCacheStatus>,
    pub(super) duration_ms: u64,
}

/// The gate's reaction to the new policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// The policy is active.
    Activated,
    /// The policy was active before.
    AlreadyActive,
    /// The gate rejected the policy. The files are unchanged.
    Rejected { reason: String },
    /// The gate did not report the policy in time. The files are unchanged.
    Timeout,
}

/// The policy file that was replaced.
#[derive(Serialize)]
pub(super) struct PreviousPolicy {
    file: String,
    sha256: String,
}

impl PreviousPolicy {
    pub(super) fn new(file: &Path, policy: &PolicyStatus) -> Self {
        Self { file: file.display().to_string(), sha256: policy.sha256.clone() }
    }
}

impl SwapReport {
    /// Why the policy is not active, for an operator. `None` if it is.
    pub(super) fn failure(&self, url: &str, timeout: &str) -> Option<String> {
        let file = &self.file;
        match &self.outcome {
            Outcome::Activated | Outcome::AlreadyActive => None,
            Outcome::Rejected { reason } => {
                Some(format!("the gate rejected the policy: {reason}; {file} is unchanged"))
            }
            Outcome::Timeout => Some(format!(
                "{url} did not report the new policy within {timeout}; {file} is unchanged; \
                 the gate may watch another file, or be slow (--timeout)"
            )),
        }
    }

    /// Why a broker may still answer by a policy that was replaced, for an operator. `None` if no broker does.
    pub(super) fn stale_caches(&self) -> Option<String> {
        let stale = self.broker_caches.iter().find(|broker| !broker.is_current)?;
        let reason = stale.error.as_ref().map_or("the reset is still in progress", |error| error.reason.as_str());
        Some(format!(
            "the policy is active, but the caches of {} are not reset: {reason}; devices that logged in during the last \
             minute may be judged by the policy before; the gate keeps trying (`mqtt-gate status`)",
            stale.api
        ))
    }
}

impl fmt::Display for SwapReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut rows = Rows::new(8);
        let current = self.broker_caches.iter().filter(|broker| broker.is_current);
        let brokers: Vec<_> = current.map(|broker| format!("caches of {} reset", broker.api)).collect();
        if self.outcome == Outcome::AlreadyActive {
            write!(f, "already active: {}", format_policy(&self.after))?;
            return brokers.iter().try_for_each(|broker| write!(f, "\n{broker}"));
        }
        rows.add("before", format_policy(&self.before));
        rows.add("after", format_args!("{}, after {} ms", format_policy(&self.after), self.duration_ms));
        match &self.previous {
            Some(previous) => {
                rows.add("previous", format_args!("{}; `mqtt-gate rollback` restores it", previous.file));
            }
            None => rows.add("previous", format_args!("not kept: {} did not hold the active policy", self.file)),
        }
        rows.add_all("brokers", brokers);
        rows.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(outcome: Outcome) -> SwapReport {
        let policy = |name: &str, generation| PolicyStatus {
            name: name.to_owned(),
            sha256: "00".to_owned(),
            generation,
            ..PolicyStatus::default()
        };
        SwapReport {
            outcome,
            file: "p.wasm".to_owned(),
            before: policy("one", 1),
            after: policy("two", 2),
            previous: None,
            broker_caches: Vec::new(),
            duration_ms: 409,
        }
    }

    #[test]
    fn text_shows_both_policies_and_the_previous_file() {
        let kept = Some(PreviousPolicy { file: "p.wasm.previous".to_owned(), sha256: "00".to_owned() });
        let expected = "\
before    one, sha256 00, generation 1
after     two, sha256 00, generation 2, after 409 ms
previous  p.wasm.previous; `mqtt-gate rollback` restores it";
        assert_eq!(SwapReport { previous: kept, ..report(Outcome::Activated) }.to_string(), expected);
        let text = report(Outcome::Activated).to_string();
        assert!(text.ends_with("\nprevious  not kept: p.wasm did not hold the active policy"), "{text}");
        assert_eq!(report(Outcome::AlreadyActive).to_string(), "already active: two, sha256 00, generation 2");
    }

    #[test]
    fn caches_that_are_reset_have_a_row_and_others_are_a_failure() {
        let broker = |api: &str, is_current| BrokerCacheStatus {
            api: api.to_owned(),
            is_current,
            ..BrokerCacheStatus::default()
        };
        let with = |broker_caches| SwapReport { broker_caches, ..report(Outcome::Activated) };
        let reset = with(vec![broker("http://a", true), broker("http://b", true)]);
        assert!(
            reset.to_string().ends_with("\nbrokers   caches of http://a reset\n          caches of http://b reset")
        );
        assert_eq!((reset.stale_caches(), report(Outcome::Activated).stale_caches()), (None, None));
        let stale = with(vec![broker("http://a", true), broker("http://b", false)]).stale_caches().unwrap();
        let expected =
            "the policy is active, but the caches of http://b are not reset: the reset is still in progress; ";
        assert!(stale.starts_with(expected), "{stale}");
    }

    #[test]
    fn json_names_the_outcome_and_the_reason() {
        for (outcome, name, reason) in [
            (Outcome::Activated, "activated", json!(null)),
            (Outcome::AlreadyActive, "already-active", json!(null)),
            (Outcome::Rejected { reason: "no key".to_owned() }, "rejected", json!("no key")),
            (Outcome::Timeout, "timeout", json!(null)),
        ] {
            let json = serde_json::to_value(report(outcome)).unwrap();
            assert_eq!((&json["outcome"], &json["reason"]), (&json!(name), &reason));
        }
    }

    #[test]
    fn only_a_policy_that_is_not_active_is_a_failure() {
        let failure = |outcome| report(outcome).failure("http://gate/status", "1m");
        assert_eq!((failure(Outcome::Activated), failure(Outcome::AlreadyActive)), (None, None));
        let rejected = failure(Outcome::Rejected { reason: "no key".to_owned() });
        assert_eq!(rejected.unwrap(), "the gate rejected the policy: no key; p.wasm is unchanged");
        let timeout = failure(Outcome::Timeout).unwrap();
        assert!(timeout.starts_with("http://gate/status did not report the new policy within 1m; "), "{timeout}");
    }
}
