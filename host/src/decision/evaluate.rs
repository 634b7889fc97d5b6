//! Evaluates a request on the active policy, so that a slow policy delays only its own client.
//!
//! A call takes a few microseconds, so a worker makes it in place, and its other connections wait that long. After a call
//! that exceeded its timeout the policy counts as slow: its next calls run on the blocking pool. So the connections of a
//! worker wait for two timeouts at most, however many logins make the policy loop.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use brokers::{AuthorizeRequest, Authorizer, Credentials, Permission};
use mqtt_gate_engine::{ActivePolicy, ActiveVersion, CallError, Digest, Verdict};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::convert;

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

/// Version of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyRef {
    /// SHA-256 of its component.
    pub digest: Digest,
    /// 1 for the first policy of this process, one more after each swap.
    pub generation: u64,
    /// Whether it answers authorize requests.
    pub authorizer: Authorizer,
}

/// Result of one call, and the version of the policy that gave it.
pub struct Evaluation<T> {
    /// The policy that was called.
    pub policy: PolicyRef,
    /// Its verdict. An error: there is none, and the client must be denied.
    pub result: Result<T, CallError>,
}

impl From<&ActiveVersion> for PolicyRef {
    fn from(version: &ActiveVersion) -> Self {
        let authorizer = Authorizer::exported(version.policy.has_authorizer());
        Self { digest: version.policy.digest(), generation: version.generation, authorizer }
    }
}

impl Evaluator for ActivePolicy {
    fn policy(&self) -> PolicyRef {
        PolicyRef::from(&**self.load())
    }

    async fn authenticate(&self, credentials: Credentials, cost: &CallCost) -> Evaluation<Verdict> {
        let credentials = convert::credentials(credentials);
        evaluate(self, cost, move |version, max_wall| version.authenticate_within(&credentials, max_wall)).await
    }

    async fn authorize(&self, request: AuthorizeRequest, cost: &CallCost) -> Evaluation<Permission> {
        let request = convert::authorize_request(request);
        evaluate(self, cost, move |version, max_wall| {
            let permissions = version.authorize_within(&request, max_wall)?;
            Ok(Permission::combine(permissions.into_iter().map(convert::permission)))
        })
        .await
    }
}

/// Calls the policy that is active now. It gives the result, whatever is swapped meanwhile.
///
/// A call that a busy machine holds up on a worker ends after a second timeout, and is made once more aside. The request
/// takes at most `limits.policy_wall_timeout` in all.
async fn evaluate<T: Send + 'static>(
    active: &ActivePolicy,
    cost: &CallCost,
    call: impl Fn(&ActiveVersion, Duration) -> Result<T, CallError> + Send + 'static,
) -> Evaluation<T> {
    let started = Instant::now();
    let version = {
        let version = active.load();
        if cost.is_cheap() && !version.policy.is_slow() {
            let max_wall = version.policy.cpu_timeout().saturating_mul(2).min(version.policy.wall_timeout());
            let result = call(&version, max_wall);
            let duration = started.elapsed();
            cost.record(duration);
            if !matches!(result, Err(CallError::Overloaded)) || duration >= version.policy.wall_timeout() {
                return Evaluation { policy: version.as_ref().into(), result };
            }
        }
        Arc::clone(&version)
    };
    let deadline = started + version.policy.wall_timeout();
    Evaluation { policy: version.as_ref().into(), result: evaluate_on_blocking_pool(version, deadline, call).await }
}

async fn evaluate_on_blocking_pool<T: Send + 'static>(
    version: Arc<ActiveVersion>,
    deadline: Instant,
    call: impl Fn(&ActiveVersion, Duration) -> Result<T, CallError> + Send + 'static,
) -> Result<T, CallError> {
    // Dropped with this future, for example when the connection ends: a call that still waits is then never made.
    let mut calls = JoinSet::new();
    calls.spawn_blocking(move || call(&version, deadline.saturating_duration_since(Instant::now())));
    match timeout_at(deadline.into(), calls.join_next()).await {
        Ok(Some(Ok(result))) => result,
        Ok(_) => Err(CallError::HostPanic),
        Err(_) => Err(CallError::Overloaded),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use mqtt_gate_engine::{Limits, PolicyReloader, PolicySource, Sandbox, SettingSources};

    use super::*;

    /// The default policy, with this wall timeout.
    fn active_policy(policy_wall_timeout: Duration) -> (ActivePolicy, PolicyReloader) {
        let mut settings = SettingSources::default();
        settings.set("signature-keys", "a key of these tests, 32 bytes..".to_owned());
        let limits = Limits { policy_timeout: Duration::from_secs(20), policy_wall_timeout, ..Limits::default() };
        let sandbox = Arc::new(Sandbox::new(limits).unwrap());
        let source = PolicySource::embedded(crate::server::DEFAULT_POLICY, settings);
        let reloader = PolicyReloader::start(source, sandbox, None, Box::new(|_| {})).unwrap();
        (reloader.active(), reloader)
    }

    #[tokio::test]
    async fn a_call_that_a_busy_machine_holds_up_is_made_once_more_aside() {
        let (active, _reloader) = active_policy(Duration::from_secs(3600));
        let worker = thread::current().id();
        let call = move |_: &ActiveVersion, max_wall: Duration| {
            if thread::current().id() == worker {
                assert_eq!(max_wall, Duration::from_secs(40), "a second timeout on the worker");
                return Err(CallError::Overloaded);
            }
            Ok(max_wall)
        };
        let evaluation = evaluate(&active, &CallCost::default(), call).await;
        assert!(evaluation.result.unwrap() > Duration::from_secs(3000), "the rest of the time aside");
    }

    #[tokio::test]
    async fn no_request_takes_longer_than_the_wall_timeout() {
        let (active, _reloader) = active_policy(Duration::from_millis(1));
        let call = |_: &ActiveVersion, max_wall: Duration| {
            thread::sleep(max_wall);
            Err::<(), _>(CallError::Overloaded)
        };
        let evaluation = evaluate(&active, &CallCost::default(), call).await;
        assert!(matches!(evaluation.result, Err(CallError::Overloaded)));
    }
}
