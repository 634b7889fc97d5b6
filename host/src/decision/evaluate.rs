//! Evaluates a request on the active chain of policies, so that a slow policy delays only its own client.
//!
//! A call takes a few microseconds, so a worker makes it in place, and its other connections wait that long. After a call
//! that exceeded its timeout the policy counts as slow: its next calls run on the blocking pool. So the connections of a
//! worker wait for two timeouts at most, however many logins make the policy loop.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use brokers::{AuthorizeRequest, Authorizer, Credentials, Permission};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{ActiveChain, CallError, Chain, ChainEvaluation, Decider, Digest, Verdict};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::convert;
use super::monitor::MonitorQueue;
use super::quota::ProcessorQuota;

/// Attribute that tells a policy the name of the tenant.
const TENANT: &str = "tenant";

/// Maximum number of threads per worker for the calls of a slow policy.
pub(crate) const MAX_BLOCKING_THREADS: usize = 64;

/// A call that takes longer is expensive. A worker makes about a hundred ordinary calls in this time.
const MAX_CHEAP_CALL: Duration = Duration::from_millis(1);

/// Calls that run aside after an expensive one. The call after them is made on the worker, to measure it again.
const CALLS_ASIDE: u32 = 16;

/// Evaluates requests. The gate uses the active policy; `bench/` uses others, to measure the cost of all the rest.
pub trait Evaluator: Send + Sync + 'static {
    /// Judges a login.
    fn authenticate(
        &self,
        credentials: Credentials,
        cost: &CallCost,
    ) -> impl Future<Output = Evaluation<Verdict>> + Send;

    /// The version that a call would use now.
    fn policy(&self) -> PolicyRef;

    /// Judges what a connected client wants to do: all of it, or nothing.
    fn authorize(
        &self,
        request: AuthorizeRequest,
        cost: &CallCost,
    ) -> impl Future<Output = Evaluation<Permission>> + Send;
}

/// Cost of the calls for one client, which decides where its next call is made.
///
/// A client whose requests take long would hold up the other connections of its worker. So its calls run aside for a
/// while, each in a thread of its own.
#[derive(Debug, Default)]
pub struct CallCost {
    calls_aside: AtomicU32,
}

impl CallCost {
    /// Whether the next call may be made on the worker. Counts as one call.
    fn is_cheap(&self) -> bool {
        self.calls_aside.try_update(Relaxed, Relaxed, |calls| calls.checked_sub(1)).is_err()
    }

    /// Takes note of a call that was made on the worker.
    fn record(&self, duration: Duration) {
        if duration > MAX_CHEAP_CALL {
            self.calls_aside.store(CALLS_ASIDE, Relaxed);
        }
    }
}

/// The version of the policy that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyRef {
    /// The operator's name for the policy.
    pub name: Name,
    /// SHA-256 of its component.
    pub digest: Digest,
    /// 1 for its first version in this process, one more after each swap.
    pub generation: u64,
    /// Number of activations in its chain before the request.
    pub activations: u64,
    /// Whether it answers authorize requests.
    pub authorizer: Authorizer,
}

/// Result of asking the policies, and the version of the one that decided.
pub struct Evaluation<T> {
    /// The policy that decided or failed.
    pub policy: PolicyRef,
    /// Its verdict. An error: there is none, and the client must be denied.
    pub result: Result<T, CallError>,
}

impl From<Decider> for PolicyRef {
    fn from(by: Decider) -> Self {
        let Decider { name, digest, generation, activations, has_authorizer, .. } = by;
        Self { name, digest, generation, activations, authorizer: Authorizer::exported(has_authorizer) }
    }
}

impl<T> From<ChainEvaluation<T>> for Evaluation<T> {
    fn from(evaluation: ChainEvaluation<T>) -> Self {
        Self { policy: evaluation.by.into(), result: evaluation.result }
    }
}

/// Evaluates requests on the policies of a site.
pub(crate) struct ChainEvaluator {
    chain: ActiveChain,
    /// Absent: the site is not a tenant's.
    tenant: Option<Name>,
    quota: Option<ProcessorQuota>,
    monitors: MonitorQueue,
}

impl ChainEvaluator {
    pub(crate) fn new(
        chain: ActiveChain,
        tenant: Option<Name>,
        quota: Option<ProcessorQuota>,
        monitors: MonitorQueue,
    ) -> Self {
        Self { chain, tenant, quota, monitors }
    }

    /// The chain.
    pub(crate) fn chain(&self) -> &ActiveChain {
        &self.chain
    }

    /// Tells the policies the name of the tenant. A broker cannot tell another one.
    pub(super) fn with_tenant(&self, attributes: &mut Vec<(String, String)>) {
        if let Some(tenant) = self.tenant {
            attributes.retain(|(name, _)| name != TENANT);
            attributes.push((TENANT.to_owned(), tenant.as_str().to_owned()));
        }
    }

    /// Asks the chain within the quota of the tenant.
    async fn ask<T: Send + 'static>(
        &self,
        cost: &CallCost,
        ask: impl Fn(&Chain, Duration) -> Option<ChainEvaluation<T>> + Send + 'static,
    ) -> ChainEvaluation<T> {
        let Some(quota) = &self.quota else { return evaluate(&self.chain, cost, ask).await };
        let max_wait = self.chain.load().wall_timeout();
        if !quota.wait(max_wait).await {
            return ChainEvaluation { by: first(&self.chain.load()), result: Err(CallError::QuotaExceeded) };
        }
        let started = Instant::now();
        let evaluation = evaluate(&self.chain, cost, ask).await;
        quota.charge(started.elapsed());
        evaluation
    }
}

impl Evaluator for ChainEvaluator {
    fn policy(&self) -> PolicyRef {
        first(&self.chain.load()).into()
    }

    async fn authenticate(&self, mut credentials: Credentials, cost: &CallCost) -> Evaluation<Verdict> {
        self.with_tenant(&mut credentials.attributes);
        let credentials = convert::credentials(credentials);
        // Only a chain with monitors pays for a copy.
        let to_monitor = self.chain.load().has_monitors().then(|| credentials.clone());
        let ask = move |chain: &Chain, max_wall| chain.authenticate_within(&credentials, max_wall);
        let evaluation = self.ask(cost, ask).await;
        if let Some(credentials) = to_monitor {
            self.monitors.authenticate(self.chain.get(), credentials, &evaluation);
        }
        evaluation.into()
    }

    async fn authorize(&self, mut request: AuthorizeRequest, cost: &CallCost) -> Evaluation<Permission> {
        self.with_tenant(&mut request.attributes);
        let request = convert::authorize_request(request);
        let to_monitor = self.chain.load().has_monitors().then(|| request.clone());
        let ask = move |chain: &Chain, max_wall| chain.authorize_within(&request, max_wall);
        let evaluation = self.ask(cost, ask).await;
        if let Some(request) = to_monitor {
            self.monitors.authorize(self.chain.get(), request, &evaluation);
        }
        let ChainEvaluation { by, result } = evaluation;
        let combine = |permissions: Vec<_>| Permission::combine(permissions.into_iter().map(convert::permission));
        Evaluation { policy: by.into(), result: result.map(combine) }
    }
}

/// The policy that is asked first. Every chain has one.
fn first(chain: &Chain) -> Decider {
    chain.first().unwrap_or_else(no_policy)
}

/// Stands for the policy of an empty chain, which the configuration rules out.
fn no_policy() -> Decider {
    let (name, digest) = (Name::none(), Digest::of(b""));
    Decider { name, digest, generation: 0, activations: 0, has_authorizer: false, index: 0 }
}

/// Asks the chain that is active now. It gives the result, whatever is swapped meanwhile.
///
/// A call that a busy machine holds up on a worker ends after a second timeout, and the chain is asked once more aside.
/// The request takes at most `limits.policy_wall_timeout` in all.
async fn evaluate<T: Send + 'static>(
    active: &ActiveChain,
    cost: &CallCost,
    ask: impl Fn(&Chain, Duration) -> Option<ChainEvaluation<T>> + Send + 'static,
) -> ChainEvaluation<T> {
    let started = Instant::now();
    let chain = {
        let chain = active.load();
        if cost.is_cheap() && !chain.is_slow() {
            let max_wall = chain.cpu_timeout().saturating_mul(2).min(chain.wall_timeout());
            let evaluation = answer(&chain, max_wall, &ask);
            let duration = started.elapsed();
            cost.record(duration);
            let is_overloaded = matches!(evaluation.result, Err(CallError::Overloaded));
            if !is_overloaded || duration >= chain.wall_timeout() {
                return evaluation;
            }
        }
        Arc::clone(&chain)
    };
    let deadline = started + chain.wall_timeout();
    let by = first(&chain);
    // Dropped with this future, for example when the connection ends: a call that still waits is then never made.
    let mut calls = JoinSet::new();
    calls.spawn_blocking(move || answer(&chain, deadline.saturating_duration_since(Instant::now()), &ask));
    match timeout_at(deadline.into(), calls.join_next()).await {
        Ok(Some(Ok(evaluation))) => evaluation,
        Ok(_) => ChainEvaluation { by, result: Err(CallError::HostPanic) },
        Err(_) => ChainEvaluation { by, result: Err(CallError::Overloaded) },
    }
}

fn answer<T>(
    chain: &Chain,
    max_wall: Duration,
    ask: &impl Fn(&Chain, Duration) -> Option<ChainEvaluation<T>>,
) -> ChainEvaluation<T> {
    let nothing = || ChainEvaluation { by: no_policy(), result: Err(CallError::HostPanic) };
    ask(chain, max_wall).unwrap_or_else(nothing)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use mqtt_gate_engine::chain::{ChainMembers, ChainReloader, ChainSource, MemberSetup, MemberSource};
    use mqtt_gate_engine::{Limits, PolicySource, Sandbox, SettingSources};

    use super::*;

    /// A chain of the default policy, with this wall timeout.
    fn active_chain(policy_wall_timeout: Duration) -> ActiveChain {
        let mut settings = SettingSources::default();
        settings.set("signature-keys", "a key of these tests, 32 bytes..".to_owned());
        let limits = Limits { policy_timeout: Duration::from_secs(20), policy_wall_timeout, ..Limits::default() };
        let sandbox = Arc::new(Sandbox::new(limits).unwrap());
        let source = PolicySource::embedded(crate::builtin::AUTH_CORE, settings);
        let (name, mode, when) = (Name::new("policy").unwrap(), Default::default(), Default::default());
        let chain = ChainSource { members: vec![MemberSource { name, mode, when, source }] };
        let setup = |_: &MemberSource| Ok(MemberSetup { observer: Box::new(|_| {}), last_known_good: None });
        ChainReloader::start(ChainMembers::default().load(&chain, &sandbox, setup).unwrap()).active()
    }

    fn evaluation<T>(result: Result<T, CallError>) -> Option<ChainEvaluation<T>> {
        Some(ChainEvaluation { by: no_policy(), result })
    }

    #[tokio::test]
    async fn a_call_that_a_busy_machine_holds_up_is_made_once_more_aside() {
        let active = active_chain(Duration::from_secs(3600));
        let worker = thread::current().id();
        let ask = move |_: &Chain, max_wall: Duration| {
            if thread::current().id() == worker {
                assert_eq!(max_wall, Duration::from_secs(40), "a second timeout on the worker");
                return evaluation(Err(CallError::Overloaded));
            }
            evaluation(Ok(max_wall))
        };
        let evaluation = evaluate(&active, &CallCost::default(), ask).await;
        assert!(evaluation.result.unwrap() > Duration::from_secs(3000), "the rest of the time aside");
    }

    #[tokio::test]
    async fn no_request_takes_longer_than_the_wall_timeout() {
        let active = active_chain(Duration::from_millis(1));
        let ask = |_: &Chain, max_wall: Duration| {
            thread::sleep(max_wall);
            evaluation(Err::<(), _>(CallError::Overloaded))
        };
        let evaluation = evaluate(&active, &CallCost::default(), ask).await;
        assert!(matches!(evaluation.result, Err(CallError::Overloaded)));
    }

    #[tokio::test]
    async fn an_empty_chain_denies() {
        let active = active_chain(Duration::from_secs(3600));
        let evaluation = evaluate(&active, &CallCost::default(), |_: &Chain, _| None::<ChainEvaluation<()>>).await;
        assert!(matches!(evaluation.result, Err(CallError::HostPanic)));
    }
}
