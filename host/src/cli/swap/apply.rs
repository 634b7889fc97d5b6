//! The swap itself: replace the policy file, wait for the gate, and restore the file unless the policy is active.

use std::thread;
use std::time::{Duration, Instant};

use mqtt_gate::status_response::{BrokerCacheStatus, MemberStatus, PolicyStatus, RejectedStatus, RejectionStatus};
use mqtt_gate_engine::Digest;

use super::error::SwapError;
use super::policy_file::{self, PolicyFile};
use super::report::{Outcome, PreviousPolicy, SwapReport};
use crate::cli::client::Client;

/// Interval between two requests for the gate's status.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Time for a gate to load or reject what its file held before. A gate looks at the file every two seconds.
const CONSISTENCY_TIMEOUT: Duration = Duration::from_secs(6);

/// The policy to swap.
pub(super) struct Member {
    /// Absent: the policies outside all tenants.
    pub(super) tenant: Option<String>,
    /// The operator's name for it. Absent: the first one.
    pub(super) name: Option<String>,
}

/// What the gate reports about the policy to swap.
struct MemberState {
    policy: PolicyStatus,
    rejected: RejectedStatus,
}

impl Member {
    /// Asks the gate.
    fn state(&self, client: &Client) -> Result<MemberState, SwapError> {
        let chain = match &self.tenant {
            Some(tenant) => client.tenant(tenant)?.chain,
            None => {
                let status = client.status()?.response;
                // A gate without a list has one policy.
                if status.chain.is_empty() || self.name.is_none() {
                    return Ok(MemberState { policy: status.policy, rejected: status.rejected });
                }
                status.chain
            }
        };
        let is_meant = |member: &MemberStatus| self.name.as_ref().is_none_or(|name| *name == member.name);
        match chain.into_iter().find(is_meant) {
            Some(member) => Ok(MemberState { policy: member.policy, rejected: member.rejected }),
            None => {
                let (url, name) = (client.url().to_owned(), self.name.clone().unwrap_or_default());
                Err(SwapError::NoSuchPolicy { url, name })
            }
        }
    }
}

/// Swaps the policy of a gate.
///
/// If the file held the active policy before, it does so afterwards, whatever the outcome. The previous policy is only
/// replaced by a policy that was active.
pub(super) fn apply(
    client: &Client,
    member: &Member,
    file: &PolicyFile,
    component: &[u8],
    timeout: Duration,
) -> Result<SwapReport, SwapError> {
    let start = Instant::now();
    let status = wait_until_consistent(client, member, file)?;
    let old = Contents::read(file)?;
    let (new, in_file) = (sha256(component), old.current.as_deref().map(sha256));
    let is_in_file = in_file.as_ref() == Some(&new);
    let keep_old = in_file.as_ref() == Some(&status.policy.sha256);

    let (outcome, after) = match outcome_before(&status, is_in_file, &new) {
        Some(outcome) => {
            if outcome == Outcome::AlreadyActive && !is_in_file {
                file.set(file.path(), Some(component))?;
            }
            (outcome, status.policy.clone())
        }
        None => {
            replace(file, component, &old, keep_old)?;
            let response = wait_for_outcome(client, member, file, &status, &new, timeout);
            if !matches!(response, Ok((Outcome::Activated, _))) {
                restore(file, &old)?;
            }
            response?
        }
    };

    let is_active = matches!(outcome, Outcome::Activated | Outcome::AlreadyActive);
    let broker_caches = if is_active { wait_for_caches(client, timeout) } else { Vec::new() };
    let kept = keep_old && outcome == Outcome::Activated;
    Ok(SwapReport {
        outcome,
        file: file.path().display().to_string(),
        previous: kept.then(|| PreviousPolicy::new(file.previous(), &status.policy)),
        before: status.policy,
        after,
        broker_caches,
        duration_ms: start.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
    })
}

/// Contents of both files before the swap.
struct Contents {
    current: Option<Vec<u8>>,
    previous: Option<Vec<u8>>,
}

impl Contents {
    fn read(file: &PolicyFile) -> Result<Self, SwapError> {
        Ok(Self { current: policy_file::read(file.path())?, previous: policy_file::read(file.previous())? })
    }
}

/// Writes the component to the watched file, after a copy of the old contents if they are worth a rollback.
fn replace(file: &PolicyFile, component: &[u8], old: &Contents, keep_old: bool) -> Result<(), SwapError> {
    if keep_old {
        file.set(file.previous(), old.current.as_deref())?;
    }
    let replaced = file.set(file.path(), Some(component));
    if replaced.is_err() && keep_old {
        file.set(file.previous(), old.previous.as_deref())?;
    }
    replaced
}

/// Restores both files.
fn restore(file: &PolicyFile, old: &Contents) -> Result<(), SwapError> {
    file.set(file.path(), old.current.as_deref())
        .and_then(|()| file.set(file.previous(), old.previous.as_deref()))
        .map_err(|source| SwapError::NotRestored { previous: file.previous().to_owned(), source: Box::new(source) })
}

/// Waits until the gate has loaded or rejected what the file holds: it may have changed just now.
fn wait_until_consistent(client: &Client, member: &Member, file: &PolicyFile) -> Result<MemberState, SwapError> {
    let start = Instant::now();
    loop {
        let status = member.state(client)?;
        let Some(contents) = policy_file::read(file.path())? else { return Ok(status) };
        let in_file = sha256(&contents);
        if is_active(&status, &in_file) || rejection_of(&status, &in_file).is_some() {
            return Ok(status);
        }
        if start.elapsed() > CONSISTENCY_TIMEOUT {
            let (url, active, file) = (client.url().to_owned(), status.policy.sha256, file.path().to_owned());
            return Err(SwapError::OtherFile { url, active, file, in_file });
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until the gate has activated or rejected the new policy. A gate that restarts meanwhile is waited for.
fn wait_for_outcome(
    client: &Client,
    member: &Member,
    file: &PolicyFile,
    before: &MemberState,
    new: &str,
    timeout: Duration,
) -> Result<(Outcome, PolicyStatus), SwapError> {
    let start = Instant::now();
    loop {
        let is_late = start.elapsed() > timeout;
        match member.state(client) {
            Ok(now) => {
                let outcome = outcome_after(before, &now, new);
                if let Some(outcome) = outcome.or_else(|| is_late.then(|| outcome_at_timeout(&now, new))) {
                    return Ok((outcome, now.policy));
                }
            }
            Err(SwapError::Client(source)) if is_late => {
                return Err(SwapError::GateLost { file: file.path().to_owned(), source });
            }
            Err(error) if is_late => return Err(error),
            Err(_) => {}
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until the brokers have reset their caches for the active policy. Returns the last state that the gate reported.
fn wait_for_caches(client: &Client, timeout: Duration) -> Vec<BrokerCacheStatus> {
    let (start, mut caches) = (Instant::now(), Vec::new());
    loop {
        if let Ok(status) = client.status() {
            caches = status.response.broker_caches;
            if caches.iter().all(|broker: &BrokerCacheStatus| broker.is_current) {
                return caches;
            }
        }
        if start.elapsed() > timeout {
            return caches;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// The outcome that is known before the file is replaced. `None`: replace it.
fn outcome_before(status: &MemberState, is_in_file: bool, new: &str) -> Option<Outcome> {
    if is_active(status, new) {
        return Some(Outcome::AlreadyActive);
    }
    rejection_of(status, new).filter(|_| is_in_file).map(Outcome::of_rejection)
}

/// The outcome that the gate reports after the file was replaced. `None`: it has not noticed the new file yet.
fn outcome_after(before: &MemberState, now: &MemberState, new: &str) -> Option<Outcome> {
    if is_active(now, new) {
        return Some(Outcome::Activated);
    }
    let is_later = now.rejected.count > before.rejected.count;
    // A file that the gate cannot read has no digest.
    let is_about_new = |last: &&RejectionStatus| last.sha256.as_deref().is_none_or(|sha256| sha256 == new);
    now.rejected.last.as_ref().filter(|_| is_later).filter(is_about_new).map(Outcome::of_rejection)
}

/// The outcome if the gate has not reported one. It reports a component that it rejected before only once.
fn outcome_at_timeout(now: &MemberState, new: &str) -> Outcome {
    rejection_of(now, new).map_or(Outcome::Timeout, Outcome::of_rejection)
}

impl Outcome {
    fn of_rejection(rejection: &RejectionStatus) -> Self {
        Self::Rejected { reason: rejection.reason.clone() }
    }
}

fn is_active(status: &MemberState, sha256: &str) -> bool {
    status.policy.sha256 == sha256
}

/// The last rejection, if it is about this component.
fn rejection_of<'a>(status: &'a MemberState, sha256: &str) -> Option<&'a RejectionStatus> {
    status.rejected.last.as_ref().filter(|last| last.sha256.as_deref() == Some(sha256))
}

fn sha256(component: &[u8]) -> String {
    Digest::of(component).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The status of a gate that runs `active`, and last rejected `rejected` of `count` components.
    fn status(active: &str, count: u64, rejected: Option<Option<&str>>) -> MemberState {
        let last = rejected.map(|sha256| json!({ "sha256": sha256, "reason": "no key", "at": "then" }));
        let policy = json!({ "name": "p", "sha256": active, "generation": 1 });
        let rejected = json!({ "count": count, "last": last });
        MemberState {
            policy: serde_json::from_value(policy).unwrap(),
            rejected: serde_json::from_value(rejected).unwrap(),
        }
    }

    fn rejected() -> Outcome {
        Outcome::Rejected { reason: "no key".to_owned() }
    }

    #[test]
    fn before_the_swap_the_gate_decides_whether_the_file_must_change() {
        for (active, last_rejected, is_in_file, outcome) in [
            ("old", None, false, None),
            ("old", None, true, None),
            ("new", None, false, Some(Outcome::AlreadyActive)),
            ("new", None, true, Some(Outcome::AlreadyActive)),
            ("old", Some(Some("new")), false, None),
            ("old", Some(Some("new")), true, Some(rejected())),
            ("old", Some(Some("bad")), true, None),
            ("old", Some(None), true, None),
        ] {
            let status = status(active, 1, last_rejected);
            assert_eq!(outcome_before(&status, is_in_file, "new"), outcome, "{active} {last_rejected:?} {is_in_file}");
        }
    }

    #[test]
    fn after_the_swap_a_new_rejection_or_activation_ends_the_wait() {
        let before = status("old", 1, Some(Some("new")));
        for (active, count, last_rejected, outcome) in [
            ("new", 1, Some(Some("new")), Some(Outcome::Activated)),
            ("old", 2, Some(Some("new")), Some(rejected())),
            ("old", 2, Some(None), Some(rejected())),
            ("old", 2, Some(Some("other")), None),
            ("old", 1, Some(Some("new")), None),
            ("old", 0, None, None),
        ] {
            let now = status(active, count, last_rejected);
            assert_eq!(outcome_after(&before, &now, "new"), outcome, "{active} {count} {last_rejected:?}");
        }
    }

    #[test]
    fn at_the_timeout_an_earlier_rejection_counts() {
        assert_eq!(outcome_at_timeout(&status("old", 1, Some(Some("new"))), "new"), rejected());
        assert_eq!(outcome_at_timeout(&status("old", 1, Some(Some("other"))), "new"), Outcome::Timeout);
        assert_eq!(outcome_at_timeout(&status("old", 0, None), "new"), Outcome::Timeout);
    }
}
