//! Putting a question to a policy, so that a slow one holds up nobody but its own client.
//!
//! A call is a few microseconds, so a worker makes it where it stands and its other connections wait that long. Once a
//! policy has run into the deadline it is suspect: its next calls are made on threads of their own. So the connections
//! of a worker wait for one deadline at the most, however many logins make the policy loop.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use brokers::{Actions, Credentials};
use tokio::task::JoinSet;
use tokio::time::timeout;

use mqtt_gate_engine::reload::active::{ActivePolicy, InService};
use mqtt_gate_engine::policy::{CallError, Digest, Permission, Policy, Verdict};

/// Threads that a worker may have for the calls of a suspect policy.
pub(crate) const MOST_THREADS: usize = 64;

/// Who answers questions. In the gate this is the policy in service; `bench/` puts others in its place, to measure what
/// everything around it takes.
pub trait Judge: Send + Sync + 'static {
    /// May this client connect?
    fn login(&self, who: Credentials) -> impl Future<Output = Judged<Verdict>> + Send;

    /// May this client, which is connected, do these things?
    fn actions(&self, what: Actions) -> impl Future<Output = Judged<Permission>> + Send;
}

/// Who was asked: a policy, and its place in the history of this gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// The digest of its component.
    pub digest: Digest,
    /// 1 for the policy that the gate began with, one more for each after it.
    pub generation: u64,
}

/// An answer, and whose it is.
pub struct Judged<T> {
    /// The policy that was asked.
    pub by: By,
    /// What it said. An error: there is no verdict, and the client is to be refused.
    pub answer: Result<T, CallError>,
}

impl By {
    fn of(serving: &InService) -> Self {
        Self { digest: serving.policy.digest(), generation: serving.generation }
    }
}

impl Judge for ActivePolicy {
    async fn login(&self, who: Credentials) -> Judged<Verdict> {
        ask(self, move |policy| policy.authenticate(who)).await
    }

    async fn actions(&self, what: Actions) -> Judged<Permission> {
        ask(self, move |policy| policy.authorize(what)).await
    }
}

/// Asks the policy that serves now. It is the one that answers, whatever is swapped meanwhile.
async fn ask<T: Send + 'static>(
    active: &ActivePolicy,
    question: impl FnOnce(&Policy) -> Result<T, CallError> + Send + 'static,
) -> Judged<T> {
    let serving = {
        let serving = active.peek();
        if !serving.policy.is_suspect() {
            return Judged { by: By::of(&serving), answer: call(&serving, question) };
        }
        Arc::clone(&serving)
    };
    Judged { by: By::of(&serving), answer: ask_aside(serving, question).await }
}

/// Makes the call on a thread of its own.
async fn ask_aside<T: Send + 'static>(
    serving: Arc<InService>,
    question: impl FnOnce(&Policy) -> Result<T, CallError> + Send + 'static,
) -> Result<T, CallError> {
    // A deadline for its turn to come, and one for the call.
    let patience = serving.policy.deadline().saturating_mul(2);
    // Dropped with this future, as when the connection ends: a call whose turn has not come is never made then.
    let mut calls = JoinSet::new();
    calls.spawn_blocking(move || call(&serving, question));
    match timeout(patience, calls.join_next()).await {
        Ok(Some(Ok(answer))) => answer,
        Ok(_) => Err(CallError::Panicked),
        Err(_) => Err(CallError::Deadline),
    }
}

/// The call itself. A panic in it is a fault like any other, and costs this client alone.
fn call<T>(serving: &InService, question: impl FnOnce(&Policy) -> Result<T, CallError>) -> Result<T, CallError> {
    catch_unwind(AssertUnwindSafe(|| question(&serving.policy))).unwrap_or(Err(CallError::Panicked))
}
