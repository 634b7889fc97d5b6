//! Resets the caches of EMQX after each activation, with retries, so that no device is judged by the policy before.
//!
//! ```text
//! activation → request → thread: reset → progress (status, metrics)
//!                          └ failed: again after 1 s, 2 s, … 30 s; succeeded: once more for responses in flight
//! ```
//!
//! The first reset that succeeds after an activation starts a sweep over the connected clients, if the broker has
//! `on_revoke`.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::util::sanitize;

use super::revocation::{BrokerRevocation, Judge, RevocationProgress};
use super::{ApiConfigError, ApiError, EmqxApi, NodeCaches, broker_apis};
use crate::config::Config;
use crate::util::log_throttle::LogThrottle;

/// Time until a reset that failed is tried again for the first time. It doubles with each failure.
pub(super) const MIN_RETRY_WAIT: Duration = Duration::from_secs(1);

/// Maximum time between two tries: a device is judged by an old response for at most this long after EMQX is back.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(30);

/// Time for a response to reach EMQX after the gate has written it.
const TRANSPORT_TIME: Duration = Duration::from_secs(1);

/// Time until the next try, after one that waited this long.
pub(super) fn next_retry_wait(wait: Duration) -> Duration {
    (wait * 2).min(MAX_RETRY_WAIT)
}

/// Resets the caches of every broker with an API. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct CacheReset(Vec<Arc<BrokerCaches>>);

/// The caches of one broker.
struct BrokerCaches {
    api: Arc<EmqxApi>,
    /// Disconnects revoked clients once the caches are reset.
    revocation: Option<Arc<BrokerRevocation>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    schedule: Schedule,
    progress: Progress,
    is_stopping: bool,
}

/// How far the caches of one broker are.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    /// Generation of the policy for which the caches were last reset; 0 before the first reset.
    pub(crate) generation: u64,
    /// Resets that succeeded.
    pub(crate) succeeded: u64,
    /// Resets that failed.
    pub(crate) failed: u64,
    /// Why the last reset failed, and since when resets fail.
    pub(crate) error: Option<(String, SystemTime)>,
    /// The node caches of EMQX, as far as it told.
    pub(crate) node_caches: NodeCaches,
}

/// The broker's address and its progress, for status and metrics.
pub(crate) struct BrokerProgress {
    /// Base URL of the API.
    pub(crate) api: String,
    pub(crate) progress: Progress,
}

/// When to reset the caches next.
struct Schedule {
    requested: u64,
    done: u64,
    /// `None`: there is nothing to do.
    due: Option<Instant>,
    retry_wait: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { requested: 0, done: 0, due: None, retry_wait: MIN_RETRY_WAIT }
    }
}

impl Schedule {
    /// A policy was activated: the caches are reset now.
    fn request(&mut self, generation: u64, now: Instant) {
        *self = Self { requested: generation, due: Some(now), retry_wait: MIN_RETRY_WAIT, ..*self };
    }

    /// The reset for a generation succeeded. After `repeat_after` a second one follows: the policy before may have judged
    /// requests whose responses reached EMQX after the first.
    fn succeeded(&mut self, generation: u64, now: Instant, repeat_after: Duration) {
        let is_first = self.done != generation;
        self.done = generation;
        self.retry_wait = MIN_RETRY_WAIT;
        if self.requested == generation {
            self.due = is_first.then(|| now + repeat_after);
        }
    }

    fn failed(&mut self, now: Instant) {
        self.due = Some(now + self.retry_wait);
        self.retry_wait = next_retry_wait(self.retry_wait);
    }
}

impl CacheReset {
    /// Reads the configuration. Opens no connection.
    ///
    /// # Errors
    /// The certificates that an API is verified with cannot be read.
    pub(crate) fn new(config: &Config) -> Result<Self, ApiConfigError> {
        let caches = broker_apis(config)?.into_iter().map(|(broker, api)| {
            let api = Arc::new(api);
            let revocation = BrokerRevocation::of(broker, &api).map(Arc::new);
            Arc::new(BrokerCaches { api, revocation, state: Mutex::default(), changed: Condvar::new() })
        });
        Ok(Self(caches.collect()))
    }

    /// Asks for a reset, because a policy was activated: of this tenant, or of the gate. `generation` counts the activations
    /// of all policies. Does not block.
    pub(crate) fn request(&self, generation: u64, tenant: Option<Name>) {
        for broker in &self.0 {
            broker.revocation.iter().for_each(|revocation| revocation.activated(generation, tenant));
            broker.lock().schedule.request(generation, Instant::now());
            broker.changed.notify_all();
        }
    }

    /// Starts a thread for each broker, and another one that asks about its connected clients. `max_call_time` is the
    /// longest time that the policies judge a request. `judge` asks those of a tenant, or of the gate.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn start(&self, max_call_time: Duration, judge: impl Fn(Option<Name>) -> Judge) -> io::Result<()> {
        for revocation in self.revocations() {
            let (revocation, judge) = (Arc::clone(revocation), judge(revocation.tenant()));
            thread::Builder::new().name("revocation".into()).spawn(move || revocation.run(&judge))?;
        }
        for broker in &self.0 {
            let broker = Arc::clone(broker);
            let repeat_after = max_call_time + TRANSPORT_TIME;
            thread::Builder::new().name("cache-reset".into()).spawn(move || broker.run(repeat_after))?;
        }
        Ok(())
    }

    /// Lets the threads end. They are not waited for: a call of the API can last for seconds, and a thread holds nothing
    /// that must be closed.
    pub(crate) fn stop(&self) {
        for broker in &self.0 {
            broker.revocation.iter().for_each(|revocation| revocation.stop());
            broker.lock().is_stopping = true;
            broker.changed.notify_all();
        }
    }

    /// The progress of each broker.
    pub(crate) fn progress(&self) -> Vec<BrokerProgress> {
        let progress = |broker: &Arc<BrokerCaches>| BrokerProgress {
            api: broker.api.url().to_owned(),
            progress: broker.lock().progress.clone(),
        };
        self.0.iter().map(progress).collect()
    }

    /// The sweeps of each broker with `on_revoke`.
    pub(crate) fn revocation_progress(&self) -> Vec<RevocationProgress> {
        self.revocations().map(|revocation| revocation.progress()).collect()
    }

    fn revocations(&self) -> impl Iterator<Item = &Arc<BrokerRevocation>> {
        self.0.iter().filter_map(|broker| broker.revocation.as_ref())
    }
}

impl BrokerCaches {
    fn run(&self, repeat_after: Duration) {
        let mut log_throttle = LogThrottle::default();
        while let Some(generation) = self.wait_until_due() {
            match self.api.reset_caches() {
                Ok(()) => {
                    self.record_success(generation, repeat_after);
                    self.revocation.iter().for_each(|revocation| revocation.caches_reset(generation, repeat_after));
                    self.ask_for_node_caches();
                }
                Err(error) => self.record_failure(&error, &mut log_throttle),
            }
        }
    }

    /// Waits until a reset is due, and returns the generation that it is for. `None`: the gate stops.
    fn wait_until_due(&self) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            let wait = state.schedule.due.map(|due| due.saturating_duration_since(Instant::now()));
            state = match wait {
                Some(Duration::ZERO) => return Some(state.schedule.requested),
                Some(wait) => self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn record_success(&self, generation: u64, repeat_after: Duration) {
        let mut state = self.lock();
        state.schedule.succeeded(generation, Instant::now(), repeat_after);
        let is_news = state.progress.generation != generation || state.progress.error.is_some();
        state.progress.generation = generation;
        state.progress.succeeded += 1;
        state.progress.error = None;
        drop(state);
        if is_news {
            tracing::info!(api = self.api.url(), generation, "caches of EMQX reset");
        }
    }

    fn record_failure(&self, error: &ApiError, log_throttle: &mut LogThrottle) {
        let error = sanitize::error_chain(error);
        let mut state = self.lock();
        state.schedule.failed(Instant::now());
        state.progress.failed += 1;
        let since = state.progress.error.take().map_or_else(SystemTime::now, |(_, since)| since);
        state.progress.error = Some((error.clone(), since));
        drop(state);
        if log_throttle.should_log(Instant::now()) {
            let hint =
                "correct what the error names; until then EMQX 6 may judge devices by a policy that was replaced";
            tracing::warn!(api = self.api.url(), error, hint, "cannot reset caches of EMQX; retrying");
        }
    }

    /// Warns about node caches that are on. Says so once, unless they change.
    fn ask_for_node_caches(&self) {
        let caches = match self.api.node_caches() {
            Ok(caches) => caches,
            Err(error) => {
                let error = sanitize::error_chain(&error);
                return tracing::debug!(api = self.api.url(), error, "cannot ask for node caches of EMQX");
            }
        };
        let before = std::mem::replace(&mut self.lock().progress.node_caches, caches);
        if before != caches && !caches.enabled().is_empty() {
            let (on, hint) = (caches.enabled().join(", "), NODE_CACHE_HINT);
            tracing::warn!(api = self.api.url(), caches = on, hint, "node cache of EMQX is on");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remedy for node caches that are on.
pub const NODE_CACHE_HINT: &str = "set node_cache.enable = false in authentication_settings and in authorization of emqx.conf: with the cache, one error \
     denies a device for a minute, and a session that has expired cannot be renewed";

#[cfg(test)]
mod tests {
    use super::*;

    const REPEAT: Duration = Duration::from_secs(3);

    /// Seconds until the reset that is due, after `start`.
    fn due(schedule: &Schedule, start: Instant) -> Option<u64> {
        schedule.due.map(|due| due.duration_since(start).as_secs())
    }

    #[test]
    fn a_reset_that_succeeded_is_repeated_once_for_responses_in_flight() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        assert_eq!(due(&schedule, start), None);
        schedule.request(1, start);
        assert_eq!(due(&schedule, start), Some(0));
        schedule.succeeded(1, start, REPEAT);
        assert_eq!(due(&schedule, start), Some(3));
        schedule.succeeded(1, start + REPEAT, REPEAT);
        assert_eq!(due(&schedule, start), None);
    }

    #[test]
    fn an_activation_during_a_reset_is_not_lost() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.request(1, start);
        schedule.request(2, start);
        schedule.succeeded(1, start, REPEAT);
        assert_eq!((due(&schedule, start), schedule.requested), (Some(0), 2));
    }

    #[test]
    fn failures_are_retried_more_and_more_slowly_until_one_succeeds() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.request(1, start);
        let waits = [1, 2, 4, 8, 16, 30, 30];
        for wait in waits {
            schedule.failed(start);
            assert_eq!(due(&schedule, start), Some(wait));
        }
        schedule.succeeded(1, start, REPEAT);
        schedule.failed(start);
        assert_eq!(due(&schedule, start), Some(1), "a repetition that fails is retried too");
        schedule.request(2, start);
        assert_eq!(due(&schedule, start), Some(0), "an activation does not wait for a retry");
    }
}
