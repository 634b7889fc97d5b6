//! Policies that are called besides (`mode = "monitor"`): their verdicts are compared with the decisions, and never count.
//!
//! They run on a thread of their own behind a bounded queue. A monitor that loops, traps or is slow delays no client; the
//! gate then compares a part of the requests.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::SystemTime;

use mqtt_gate_engine::chain::Facts;
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::util::sanitize;
use mqtt_gate_engine::{
    ActiveVersion, AuthorizeRequest, CallError, Chain, ChainEvaluation, Credentials, Permission, Verdict,
};

/// Requests that wait for a monitor. A few milliseconds of a reconnect storm.
const MAX_QUEUED: usize = 1_024;

/// Examples that are kept of the differences of one monitor.
const MAX_EXAMPLES: usize = 8;

/// Longer client ids are cut.
const MAX_CLIENT_ID_CHARS: usize = 128;

/// The queue of one site. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct MonitorQueue {
    /// Absent: no thread takes requests.
    jobs: Option<SyncSender<Job>>,
    tenant: Option<Name>,
    monitors: Monitors,
}

/// What the monitors of all sites have found. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Monitors(Arc<Mutex<Comparisons>>);

/// What was found, by tenant and name of the monitor.
pub(crate) type Comparisons = BTreeMap<(Option<Name>, Name), Comparison>;

/// What one monitor has found since its active version was activated.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    /// The version that was called.
    pub(crate) generation: u64,
    /// Requests that were compared.
    pub(crate) compared: u64,
    /// Requests that were not, because the queue was full.
    pub(crate) dropped: u64,
    /// Calls of the monitor that failed.
    pub(crate) errors: u64,
    /// Differences by kind.
    pub(crate) differences: BTreeMap<Difference, u64>,
    /// The newest differences, the newest last.
    pub(crate) examples: VecDeque<Example>,
}

/// How a monitor would have changed a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    /// It would have denied what was allowed.
    WouldDeny,
    /// It would have allowed what was refused.
    WouldAllow,
    /// It would have failed, so that an allowed client would have been refused.
    WouldFail,
    /// It would have allowed the client with another grant.
    OtherGrant,
}

/// A request about which a monitor differs. Holds no user name and no password.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) at: SystemTime,
    /// Escaped and cut.
    pub(crate) client_id: String,
    pub(crate) difference: Difference,
    /// The reason that the monitor gives; empty if it gives none.
    pub(crate) reason: &'static str,
}

/// A request to compare.
struct Job {
    tenant: Option<Name>,
    name: Name,
    version: Arc<ActiveVersion>,
    request: MonitoredRequest,
}

enum MonitoredRequest {
    /// A login, and the grant as text if it was allowed.
    Login(Credentials, Option<String>),
    /// A publish or subscribe check, and whether it was allowed.
    Action(AuthorizeRequest, bool),
}

impl Difference {
    /// Label `kind`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WouldDeny => "would-deny",
            Self::WouldAllow => "would-allow",
            Self::WouldFail => "would-fail",
            Self::OtherGrant => "other-grant",
        }
    }
}

impl Monitors {
    /// What each monitor has found, with its tenant and its name.
    pub(crate) fn snapshot(&self) -> Comparisons {
        self.lock().clone()
    }

    /// What one monitor has found.
    pub(crate) fn comparison(&self, tenant: Option<Name>, name: Name) -> Option<Comparison> {
        self.lock().get(&(tenant, name)).cloned()
    }

    fn update(&self, job: &Job, update: impl FnOnce(&mut Comparison)) {
        let mut monitors = self.lock();
        let comparison = monitors.entry((job.tenant, job.name)).or_default();
        if comparison.generation < job.version.generation {
            *comparison = Comparison { generation: job.version.generation, ..Comparison::default() };
        }
        // A request that was queued before a swap says nothing about the version after it.
        if comparison.generation == job.version.generation {
            update(comparison);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Comparisons> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MonitorQueue {
    /// Starts the thread. It ends when the last queue is dropped.
    ///
    /// # Errors
    /// The operating system refuses the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queued) = sync_channel::<Job>(MAX_QUEUED);
        let monitors = Monitors::default();
        let found = monitors.clone();
        let run = move || queued.into_iter().for_each(|job| compare(&job, &found));
        thread::Builder::new().name("policy-monitor".to_owned()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), tenant: None, monitors })
    }

    /// The queue of a tenant.
    pub(crate) fn of_tenant(&self, tenant: Name) -> Self {
        Self { tenant: Some(tenant), ..self.clone() }
    }

    /// What the monitors have found.
    pub(crate) fn monitors(&self) -> Monitors {
        self.monitors.clone()
    }

    /// Compares a login that was decided.
    pub(crate) fn authenticate(
        &self,
        chain: Arc<Chain>,
        credentials: Credentials,
        evaluation: &ChainEvaluation<Verdict>,
    ) {
        let grant = match &evaluation.result {
            Ok(Verdict::Allow(grant)) => Some(format!("{grant:?}")),
            Ok(_) | Err(_) => None,
        };
        let decided_at = place(&chain, evaluation.by.index, matches!(evaluation.result, Ok(Verdict::Ignore)));
        for monitor in chain.monitors(&Facts::from(&credentials), decided_at) {
            self.push(monitor.name, monitor.active.get(), MonitoredRequest::Login(credentials.clone(), grant.clone()));
        }
    }

    /// Compares a publish or subscribe check that was decided.
    pub(crate) fn authorize(
        &self,
        chain: Arc<Chain>,
        request: AuthorizeRequest,
        evaluation: &ChainEvaluation<Vec<Permission>>,
    ) {
        let permissions = evaluation.result.as_deref().unwrap_or_default();
        let is_allowed = !permissions.is_empty() && permissions.iter().all(|it| *it == Permission::Allow);
        let decided_at = place(&chain, evaluation.by.index, permissions.contains(&Permission::Ignore));
        for monitor in chain.monitors(&Facts::from(&request), decided_at) {
            let version = monitor.active.get();
            if version.policy.has_authorizer() {
                self.push(monitor.name, version, MonitoredRequest::Action(request.clone(), is_allowed));
            }
        }
    }

    fn push(&self, name: Name, version: Arc<ActiveVersion>, request: MonitoredRequest) {
        let Some(jobs) = &self.jobs else { return };
        let job = Job { tenant: self.tenant, name, version, request };
        if let Err(TrySendError::Full(job)) = jobs.try_send(job) {
            self.monitors.update(&job, |comparison| comparison.dropped += 1);
        }
    }
}

/// The place before which a policy would have been asked. If no policy decided, every policy would.
fn place(chain: &Chain, index: usize, is_undecided: bool) -> usize {
    if is_undecided { chain.members().len() } else { index }
}

/// Calls the monitor, and compares its verdict.
fn compare(job: &Job, monitors: &Monitors) {
    let (client_id, is_error, difference) = match &job.request {
        MonitoredRequest::Login(credentials, grant) => {
            let verdict = job.version.authenticate(credentials);
            (&credentials.client_id, verdict.is_err(), login_difference(&verdict, grant.as_deref()))
        }
        MonitoredRequest::Action(request, is_allowed) => {
            let permissions = job.version.authorize(request);
            (&request.client_id, permissions.is_err(), action_difference(&permissions, *is_allowed))
        }
    };
    monitors.update(job, |comparison| {
        comparison.compared += 1;
        comparison.errors += u64::from(is_error);
        let Some((difference, reason)) = difference else { return };
        *comparison.differences.entry(difference).or_default() += 1;
        if comparison.examples.len() == MAX_EXAMPLES {
            comparison.examples.pop_front();
        }
        let client_id = sanitize::escape(client_id, MAX_CLIENT_ID_CHARS);
        comparison.examples.push_back(Example { at: SystemTime::now(), client_id, difference, reason });
    });
}

/// A monitor that ignores a client leaves the decision to the policies after it, as it is.
fn login_difference(verdict: &Result<Verdict, CallError>, grant: Option<&str>) -> Option<(Difference, &'static str)> {
    match (verdict, grant) {
        (Ok(Verdict::Allow(_)), None) => Some((Difference::WouldAllow, "")),
        (Ok(Verdict::Allow(other)), Some(grant)) => {
            (format!("{other:?}") != grant).then_some((Difference::OtherGrant, ""))
        }
        (Ok(Verdict::Deny(denial)), Some(_)) => Some((Difference::WouldDeny, denial.reason.name())),
        (Err(error), Some(_)) => Some((Difference::WouldFail, error.code())),
        (Ok(Verdict::Deny(_)) | Err(_), None) | (Ok(Verdict::Ignore), _) => None,
    }
}

fn action_difference(
    permissions: &Result<Vec<Permission>, CallError>,
    is_allowed: bool,
) -> Option<(Difference, &'static str)> {
    match permissions {
        Ok(permissions) if permissions.contains(&Permission::Deny) => {
            is_allowed.then_some((Difference::WouldDeny, "action-not-allowed"))
        }
        Ok(permissions) if permissions.iter().all(|permission| *permission == Permission::Allow) => {
            (!is_allowed).then_some((Difference::WouldAllow, ""))
        }
        Ok(_) => None,
        Err(error) => is_allowed.then_some((Difference::WouldFail, error.code())),
    }
}

#[cfg(test)]
mod tests {
    use mqtt_gate_engine::{Access, Denial, DenyReason, Grant};

    use super::*;

    #[test]
    fn only_what_would_change_for_the_client_is_a_difference() {
        let allow = |key: &str| {
            let (access, key_id) = (Access::Everything, Some(key.to_owned()));
            let (attributes, extensions) = (Vec::new(), Vec::new());
            Ok(Verdict::Allow(Grant { access, expires_at: None, key_id, attributes, extensions }))
        };
        let deny = || Ok(Verdict::Deny(Denial { reason: DenyReason::Banned, detail: None }));
        let grant = match allow("k") {
            Ok(Verdict::Allow(grant)) => format!("{grant:?}"),
            Ok(_) | Err(_) => unreachable!(),
        };
        let fault = || Err(CallError::Deadline);
        for (verdict, decided, expected) in [
            (allow("k"), Some(grant.as_str()), None),
            (allow("other"), Some(&grant), Some((Difference::OtherGrant, ""))),
            (allow("k"), None, Some((Difference::WouldAllow, ""))),
            (deny(), Some(&grant), Some((Difference::WouldDeny, "banned"))),
            (deny(), None, None),
            (fault(), Some(&grant), Some((Difference::WouldFail, "deadline"))),
            (fault(), None, None),
            (Ok(Verdict::Ignore), Some(&grant), None),
            (Ok(Verdict::Ignore), None, None),
        ] {
            assert_eq!(login_difference(&verdict, decided), expected, "{verdict:?} {decided:?}");
        }
    }

    #[test]
    fn one_denied_access_is_a_denied_action() {
        use Permission::{Allow, Deny, Ignore};
        for (permissions, is_allowed, expected) in [
            (vec![Allow, Deny], true, Some((Difference::WouldDeny, "action-not-allowed"))),
            (vec![Allow, Deny], false, None),
            (vec![Allow, Allow], false, Some((Difference::WouldAllow, ""))),
            (vec![Allow, Ignore], true, None),
            (vec![Ignore], false, None),
        ] {
            assert_eq!(action_difference(&Ok(permissions), is_allowed), expected);
        }
    }
}
