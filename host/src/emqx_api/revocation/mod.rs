//! Disconnects clients that the policies deny after an activation.
//!
//! ```text
//! activation → caches reset → sweep: list the clients → ask the policy → disconnect those that it denies
//!     └ a newer activation interrupts the sweep     └ a call of the API failed: again after 1 s, 2 s, … 30 s
//! ```
//!
//! The repetition of a cache reset starts a second sweep. It finds clients that the policy before admitted during the
//! first one, and clients that moved between pages of the list.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::util::sanitize;
use mqtt_gate_engine::{Action, AuthorizeRequest, CallError, Permission};

use super::cache_reset::{MIN_RETRY_WAIT, next_retry_wait};
use super::clients::{Client, ClientPages};
use super::{ApiError, EmqxApi};
use crate::config::{BrokerConfig, OnRevoke};
use crate::util::log_throttle::LogThrottle;

/// Minimum time between two clients that are disconnected, so at most 100 a second. EMQX handles several thousand logins a
/// second, and each disconnected client may try to connect again at once.
const KICK_INTERVAL: Duration = Duration::from_millis(10);

/// Reason of a ban, for the dashboard of EMQX.
const BAN_REASON: &str = "revoked: denied by the policy of mqtt-gate";

/// Clients of a report that the log names.
const MAX_REPORTED: usize = 10;

/// Maximum characters of a client id in a log line.
const MAX_CLIENT_ID_CHARS: usize = 256;

/// Asks the policies that are active now.
pub(crate) struct Judge {
    /// Which of the policies can be asked.
    pub(crate) coverage: Box<dyn Fn() -> Coverage + Send + Sync>,
    /// Asks about one client.
    pub(crate) may_stay_connected: Box<dyn Fn(AuthorizeRequest) -> Result<Permission, CallError> + Send + Sync>,
}

/// Which policies can be asked about connected clients.
#[derive(Default)]
pub(crate) struct Coverage {
    /// Whether any of them can.
    pub(crate) has_authorizer: bool,
    /// Those without an authorizer: what they deny disconnects nobody.
    pub(crate) lacking: Vec<Name>,
}

impl Judge {
    /// Whether a client of this name may be connected at all.
    fn judge(&self, client: &Client) -> Result<Permission, CallError> {
        let request = AuthorizeRequest {
            client_id: client.client_id.clone(),
            username: client.username.clone(),
            peer_host: client.peer_host.clone(),
            attributes: Vec::new(),
            actions: vec![Action::ConnectWithoutProof],
        };
        // A panic would end the thread, and with it every later sweep.
        catch_unwind(AssertUnwindSafe(|| (self.may_stay_connected)(request))).unwrap_or(Err(CallError::HostPanic))
    }
}

/// Disconnects revoked clients of one broker.
pub(super) struct BrokerRevocation {
    api: Arc<EmqxApi>,
    /// The tenant whose policies are asked. `None`: those of the gate.
    tenant: Option<Name>,
    action: OnRevoke,
    /// Time of a ban.
    ban: Option<Duration>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Generation of the newest activation.
    newest: u64,
    /// Generation whose sweep is due.
    due: Option<u64>,
    is_stopping: bool,
    progress: Progress,
    /// Generation for which policies without an authorizer were reported.
    reported: u64,
}

/// The last sweep of one broker, and totals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Number of activations before the sweep; 0 before the first sweep.
    pub(crate) generation: u64,
    /// Whether the sweep is not finished.
    pub(crate) is_running: bool,
    /// Start of the sweep.
    pub(crate) since: Option<SystemTime>,
    /// Whether no policy can be asked about connected clients.
    pub(crate) lacks_authorizer: bool,
    /// Policies without an authorizer.
    pub(crate) lacking: Vec<&'static str>,
    /// Clients that the policies were asked about.
    pub(crate) examined: u64,
    /// Clients that they deny.
    pub(crate) denied: u64,
    /// Clients that were disconnected or banned.
    pub(crate) kicked: u64,
    /// Clients about whom the policies failed. They stay connected.
    pub(crate) failed: u64,
    /// Why the last call of the API failed, and since when calls fail.
    pub(crate) error: Option<(String, SystemTime)>,
    pub(crate) totals: Totals,
}

/// Counts since the start of the gate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Sweeps that examined every client and disconnected every denied one.
    pub(crate) succeeded: u64,
    /// Calls of the API that failed. Each is retried.
    pub(crate) failed: u64,
    /// Sweeps that ended early for a newer activation.
    pub(crate) interrupted: u64,
    /// Sweeps that did not begin, because no policy has an authorizer.
    pub(crate) skipped: u64,
    /// Clients that were disconnected.
    pub(crate) kicked: u64,
    /// Clients that were banned.
    pub(crate) banned: u64,
}

/// The broker's address and its progress, for status and metrics.
pub(crate) struct RevocationProgress {
    /// Base URL of the API.
    pub(crate) api: String,
    pub(crate) tenant: Option<Name>,
    pub(crate) action: OnRevoke,
    pub(crate) progress: Progress,
}

/// The sweep ends early: there is a newer one to begin, or the gate stops.
struct Interrupted;

/// What a call did to a denied client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Kicked,
    Banned,
    /// It had left, or was banned before.
    Gone,
}

/// Spreads disconnections over time.
struct Pace {
    next: Instant,
}

impl Pace {
    /// Time to wait before the next client is disconnected.
    fn wait(&mut self, now: Instant) -> Duration {
        let wait = self.next.saturating_duration_since(now);
        self.next = self.next.max(now) + KICK_INTERVAL;
        wait
    }
}

impl BrokerRevocation {
    /// The treatment of revoked clients of this broker. `None`: they stay connected.
    pub(super) fn of(broker: &BrokerConfig, api: &Arc<EmqxApi>) -> Option<Self> {
        let (api, action) = (Arc::clone(api), broker.on_revoke?);
        let (tenant, ban) = (broker.tenant, broker.ban_of_revoked());
        Some(Self { api, tenant, action, ban, state: Mutex::default(), changed: Condvar::new() })
    }

    /// The tenant whose policies are asked.
    pub(super) fn tenant(&self) -> Option<Name> {
        self.tenant
    }

    /// A policy was activated: a sweep for an older one ends.
    pub(super) fn activated(&self, generation: u64) {
        self.lock().newest = generation;
        self.changed.notify_all();
    }

    /// The caches were reset for this generation: a client that is disconnected now cannot come back by a kept response.
    pub(super) fn request(&self, generation: u64) {
        self.lock().due = Some(generation);
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        self.lock().is_stopping = true;
        self.changed.notify_all();
    }

    pub(super) fn progress(&self) -> RevocationProgress {
        let api = self.api.url().to_owned();
        RevocationProgress { api, tenant: self.tenant, action: self.action, progress: self.lock().progress.clone() }
    }

    /// Sweeps after each request, until the gate stops.
    pub(super) fn run(&self, judge: &Judge) {
        let mut log_throttle = LogThrottle::default();
        while let Some(generation) = self.wait_until_due() {
            let coverage = (judge.coverage)();
            self.begin(generation, &coverage);
            if !coverage.has_authorizer {
                self.skip();
                continue;
            }
            match self.sweep(generation, judge, &mut log_throttle) {
                Ok(()) => self.finish(),
                Err(Interrupted) => {
                    let mut state = self.lock();
                    state.progress.is_running = false;
                    state.progress.totals.interrupted += 1;
                }
            }
        }
    }

    /// Waits until a sweep is due, and returns the generation that it is for. `None`: the gate stops.
    fn wait_until_due(&self) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            if let Some(generation) = state.due.take() {
                return Some(generation);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Begins a sweep, and says once for each generation which policies cannot be asked.
    fn begin(&self, generation: u64, coverage: &Coverage) {
        let mut state = self.lock();
        let is_news = std::mem::replace(&mut state.reported, generation) != generation;
        let lacking: Vec<_> = coverage.lacking.iter().map(|name| name.as_str()).collect();
        // The second sweep after an activation adds to the first.
        let kicked = if state.progress.generation == generation { state.progress.kicked } else { 0 };
        state.progress = Progress {
            generation,
            is_running: coverage.has_authorizer,
            since: Some(SystemTime::now()),
            lacks_authorizer: !coverage.has_authorizer,
            lacking: lacking.clone(),
            denied: kicked,
            kicked,
            totals: state.progress.totals,
            ..Progress::default()
        };
        drop(state);
        if is_news && !lacking.is_empty() {
            let (api, tenant, policies) = (self.api.url(), self.tenant.map(Name::as_str), lacking.join(", "));
            if coverage.has_authorizer {
                tracing::info!(api, tenant, policies, "policies without an authorizer disconnect no client");
            } else {
                let hint = "use policies with an authorizer, or mqtt-gate kick";
                tracing::warn!(api, tenant, policies, hint, "no policy can revoke connected clients");
            }
        }
    }

    /// No policy can be asked.
    fn skip(&self) {
        self.lock().progress.totals.skipped += 1;
    }

    fn finish(&self) {
        let mut state = self.lock();
        let progress = &mut state.progress;
        progress.is_running = false;
        progress.error = None;
        progress.totals.succeeded += 1;
        let Progress { generation, examined, denied, kicked, failed, .. } = *progress;
        drop(state);
        let api = self.api.url();
        tracing::info!(api, generation, examined, denied, kicked, failed, "connected clients examined");
    }

    fn sweep(&self, generation: u64, judge: &Judge, log_throttle: &mut LogThrottle) -> Result<(), Interrupted> {
        // Listed to the end before the first client is disconnected: each one that leaves moves others between pages.
        let denied = self.examine(generation, judge, log_throttle)?;
        match self.action {
            OnRevoke::Report => {
                self.report(&denied);
                Ok(())
            }
            OnRevoke::Kick | OnRevoke::Ban => self.disconnect(generation, denied, log_throttle),
        }
    }

    /// Asks the policy about every client, and returns the ids that it denies.
    fn examine(
        &self,
        generation: u64,
        judge: &Judge,
        log_throttle: &mut LogThrottle,
    ) -> Result<BTreeSet<String>, Interrupted> {
        let (mut pages, mut denied) = (ClientPages::default(), BTreeSet::new());
        let (mut retry_wait, mut first_error) = (MIN_RETRY_WAIT, None);
        loop {
            let clients = match pages.next(|page, limit| self.api.clients(page, limit)) {
                Ok(Some(clients)) => clients,
                Ok(None) => break,
                Err(error) => {
                    self.hold(generation, &error, &mut retry_wait, log_throttle)?;
                    continue;
                }
            };
            (retry_wait, self.lock().progress.error) = (MIN_RETRY_WAIT, None);
            for client in clients {
                let permission = judge.judge(&client);
                let is_denied = is_revoked(&permission) && denied.insert(client.client_id);
                let mut state = self.lock();
                check_current(&state, generation)?;
                state.progress.examined += 1;
                state.progress.denied += u64::from(is_denied);
                state.progress.failed += u64::from(permission.is_err());
                first_error = first_error.or(permission.err());
            }
        }
        if let Some(error) = first_error {
            let (api, failed, code) = (self.api.url(), self.lock().progress.failed, error.code());
            let error = sanitize::error_chain(&error);
            let hint = "correct the policy; these clients stay connected";
            tracing::warn!(api, generation, failed, code, error, hint, "policy failed for connected clients");
        }
        Ok(denied)
    }

    fn report(&self, denied: &BTreeSet<String>) {
        for client_id in denied.iter().take(MAX_REPORTED) {
            let client_id = sanitize::escape(client_id, MAX_CLIENT_ID_CHARS);
            tracing::info!(api = self.api.url(), client_id, "revoked client would be disconnected");
        }
    }

    /// Disconnects these clients. A client whose call failed comes last, so that it does not hold up the others.
    fn disconnect(
        &self,
        generation: u64,
        denied: BTreeSet<String>,
        log_throttle: &mut LogThrottle,
    ) -> Result<(), Interrupted> {
        let (mut waiting, mut retry_wait) = (VecDeque::from_iter(denied), MIN_RETRY_WAIT);
        let mut pace = Pace { next: Instant::now() };
        while let Some(client_id) = waiting.pop_front() {
            self.pause(generation, pace.wait(Instant::now()))?;
            match self.revoke(&client_id) {
                Ok(outcome) => {
                    retry_wait = MIN_RETRY_WAIT;
                    self.record(generation, &client_id, outcome);
                }
                Err(error) => {
                    waiting.push_back(client_id);
                    self.hold(generation, &error, &mut retry_wait, log_throttle)?;
                }
            }
        }
        Ok(())
    }

    fn revoke(&self, client_id: &str) -> Result<Outcome, ApiError> {
        // The ban first: a client that is only disconnected may be back before it.
        let is_banned = match self.ban {
            Some(ban) => self.api.ban(client_id, SystemTime::now() + ban, BAN_REASON)?,
            None => false,
        };
        let was_connected = self.api.kick(client_id)?;
        Ok(match (is_banned, was_connected) {
            (true, _) => Outcome::Banned,
            (false, true) => Outcome::Kicked,
            (false, false) => Outcome::Gone,
        })
    }

    fn record(&self, generation: u64, client_id: &str, outcome: Outcome) {
        let mut state = self.lock();
        state.progress.error = None;
        let action = match outcome {
            Outcome::Gone => return,
            Outcome::Kicked => {
                state.progress.totals.kicked += 1;
                "kick"
            }
            Outcome::Banned => {
                state.progress.totals.banned += 1;
                "ban"
            }
        };
        state.progress.kicked += 1;
        drop(state);
        let client_id = sanitize::escape(client_id, MAX_CLIENT_ID_CHARS);
        tracing::info!(api = self.api.url(), generation, client_id, action, "revoked client disconnected");
    }

    /// A call of the API failed: waits until it is made again. A sweep that is due begins instead.
    fn hold(
        &self,
        generation: u64,
        error: &ApiError,
        retry_wait: &mut Duration,
        log_throttle: &mut LogThrottle,
    ) -> Result<(), Interrupted> {
        let error = sanitize::error_chain(error);
        let mut state = self.lock();
        let since = state.progress.error.take().map_or_else(SystemTime::now, |(_, since)| since);
        state.progress.error = Some((error.clone(), since));
        state.progress.totals.failed += 1;
        drop(state);
        if log_throttle.should_log(Instant::now()) {
            let hint = "correct what the error names; until then revoked clients may stay connected";
            tracing::warn!(api = self.api.url(), error, hint, "cannot revoke connected clients; retrying");
        }
        self.pause(generation, *retry_wait)?;
        *retry_wait = next_retry_wait(*retry_wait);
        if self.lock().due.is_some() { Err(Interrupted) } else { Ok(()) }
    }

    /// Waits, unless the sweep is interrupted.
    fn pause(&self, generation: u64, wait: Duration) -> Result<(), Interrupted> {
        let end = Instant::now() + wait;
        let mut state = self.lock();
        loop {
            check_current(&state, generation)?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fails closed for the session, not for the client: only a denial disconnects a client that works.
fn is_revoked(permission: &Result<Permission, CallError>) -> bool {
    matches!(permission, Ok(Permission::Deny))
}

fn check_current(state: &State, generation: u64) -> Result<(), Interrupted> {
    if state.is_stopping || state.newest > generation { Err(Interrupted) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_denial_disconnects_a_client() {
        assert!(is_revoked(&Ok(Permission::Deny)));
        for permission in [Ok(Permission::Allow), Ok(Permission::Ignore), Err(CallError::Deadline)] {
            assert!(!is_revoked(&permission), "{permission:?}");
        }
    }

    #[test]
    fn the_question_is_whether_the_client_may_be_connected_and_a_panic_is_an_error() {
        type Ask = Box<dyn Fn(AuthorizeRequest) -> Result<Permission, CallError> + Send + Sync>;
        let judge = |may_stay_connected: Ask| Judge { coverage: Box::new(Coverage::default), may_stay_connected };
        let client = Client { client_id: "c".to_owned(), username: Some("u".to_owned()), peer_host: None };
        let asked = judge(Box::new(|request| {
            let question = [Action::ConnectWithoutProof].as_slice();
            assert_eq!(
                (request.client_id.as_str(), request.username.as_deref(), request.actions.as_slice()),
                ("c", Some("u"), question)
            );
            Ok(Permission::Deny)
        }));
        assert!(is_revoked(&asked.judge(&client)));
        let panics = judge(Box::new(|_| panic!("on purpose")));
        assert!(matches!(panics.judge(&client), Err(CallError::HostPanic)));
    }

    #[test]
    fn at_most_100_clients_a_second_are_disconnected() {
        let start = Instant::now();
        let mut pace = Pace { next: start };
        let mut now = start;
        for _ in 0..=100 {
            now += pace.wait(now);
        }
        assert_eq!(now - start, Duration::from_secs(1));
        now += Duration::from_secs(5);
        assert_eq!((pace.wait(now), pace.wait(now)), (Duration::ZERO, KICK_INTERVAL), "idle time is not saved up");
    }

    #[test]
    fn a_newer_activation_or_the_end_of_the_gate_interrupts_a_sweep() {
        let state = |newest, is_stopping| State { newest, is_stopping, ..State::default() };
        assert!(check_current(&state(2, false), 2).is_ok());
        assert!(check_current(&state(3, false), 2).is_err() && check_current(&state(2, true), 2).is_err());
    }
}
