//! Disconnects clients that the policies deny after an activation.
//!
//! ```text
//! activation → caches reset → sweep: list the clients → ask the policy → disconnect those that it denies
//!     └ a newer activation interrupts the sweep     └ a call of the API failed: again after 1 s, 2 s, … 30 s
//! ```
//!
//! A second sweep follows. It finds clients that the policy before admitted during the first one, and clients that moved
//! between pages of the list.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::util::sanitize;

use super::cache_reset::{MIN_RETRY_WAIT, next_retry_wait};
use super::clients::ClientPages;
use super::{ApiError, EmqxApi};
use crate::config::{BrokerConfig, OnRevoke};
use crate::util::log_throttle::LogThrottle;

mod denied;
mod judge;
mod progress;
mod schedule;

use denied::Denied;
use judge::is_revoked;
use schedule::Schedule;

pub(crate) use judge::{Coverage, Judge};
pub(crate) use progress::{Progress, RevocationProgress};

/// Minimum time between two clients that are disconnected, so at most 100 a second. EMQX handles several thousand logins a
/// second, and each disconnected client may try to connect again at once.
const KICK_INTERVAL: Duration = Duration::from_millis(10);

/// Reason of a ban, for the dashboard of EMQX.
const BAN_REASON: &str = "revoked: denied by the policy of mqtt-gate";

/// Clients of a report that the log names.
const MAX_REPORTED: usize = 10;

/// Maximum characters of a client id in a log line.
const MAX_CLIENT_ID_CHARS: usize = 256;

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
    schedule: Schedule,
    is_stopping: bool,
    progress: Progress,
    /// Generation for which policies without an authorizer were reported.
    reported: u64,
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

    /// A policy of this tenant, or of the gate, was activated. Others do not count: a tenant that is changed often must
    /// not keep the clients of another one connected.
    pub(super) fn activated(&self, generation: u64, tenant: Option<Name>) {
        if tenant == self.tenant {
            self.lock().schedule.activated(generation);
            self.changed.notify_all();
        }
    }

    /// The caches were reset for this generation: a client that is disconnected now cannot come back by a kept response.
    pub(super) fn caches_reset(&self, generation: u64, repeat_after: Duration) {
        self.lock().schedule.caches_reset(generation, Instant::now(), repeat_after);
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

    /// Sweeps whenever one is due, until the gate stops.
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
            let now = Instant::now();
            if let Some(generation) = state.schedule.begin(now) {
                return Some(generation);
            }
            state = match state.schedule.wait(now) {
                Some(wait) => self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
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
                tracing::info!(api, tenant, policies, "policies cannot be asked about connected clients");
            } else {
                let hint = "use policies with an authorizer, or mqtt-gate kick";
                tracing::warn!(api, tenant, policies, hint, "no policy can be asked about connected clients");
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
        loop {
            // Listed before the first client is disconnected: each one that leaves moves others between pages.
            let (denied, is_complete) = self.examine(generation, judge, log_throttle)?;
            if self.action == OnRevoke::Report {
                self.report(&denied);
                return Ok(());
            }
            let before = self.lock().progress.kicked;
            self.disconnect(generation, denied, log_throttle)?;
            // A list that names only clients that are gone would never end.
            if is_complete || self.lock().progress.kicked == before {
                return Ok(());
            }
        }
    }

    /// Asks the policies about every client, and returns the ids that they deny, and whether these are all.
    fn examine(
        &self,
        generation: u64,
        judge: &Judge,
        log_throttle: &mut LogThrottle,
    ) -> Result<(Denied, bool), Interrupted> {
        let (mut pages, mut denied) = (ClientPages::default(), Denied::default());
        let (mut retry_wait, mut first_error) = (MIN_RETRY_WAIT, None);
        self.lock().progress.begin_list();
        let is_complete = loop {
            if denied.is_full() {
                break false;
            }
            let clients = match pages.next(|page, limit| self.api.clients(page, limit)) {
                Ok(Some(clients)) => clients,
                Ok(None) => break true,
                Err(error) => {
                    self.hold(generation, &error, &mut retry_wait, log_throttle)?;
                    continue;
                }
            };
            (retry_wait, self.lock().progress.error) = (MIN_RETRY_WAIT, None);
            for client in clients {
                let permission = judge.judge(&client);
                let is_denied = is_revoked(&permission) && self.add(&mut denied, client.client_id);
                let mut state = self.lock();
                check_current(&state, generation)?;
                state.progress.examined += 1;
                state.progress.denied += u64::from(is_denied);
                state.progress.failed += u64::from(permission.is_err());
                first_error = first_error.or(permission.err());
            }
        };
        if let Some(error) = first_error {
            let (api, failed, code) = (self.api.url(), self.lock().progress.failed, error.code());
            let error = sanitize::error_chain(&error);
            let hint = "correct the policy; these clients stay connected";
            tracing::warn!(api, generation, failed, code, error, hint, "policy failed for connected clients");
        }
        Ok((denied, is_complete))
    }

    /// Adds a denied client. Returns whether it is new. A report keeps only the ids that it names.
    fn add(&self, denied: &mut Denied, client_id: String) -> bool {
        let is_named = self.action != OnRevoke::Report || denied.ids().len() < MAX_REPORTED;
        !is_named || denied.insert(client_id)
    }

    fn report(&self, denied: &Denied) {
        for client_id in denied.ids() {
            let client_id = sanitize::escape(client_id, MAX_CLIENT_ID_CHARS);
            tracing::info!(api = self.api.url(), client_id, "revoked client would be disconnected");
        }
    }

    /// Disconnects these clients. A client whose call failed comes last, so that it does not hold up the others.
    fn disconnect(&self, generation: u64, denied: Denied, log_throttle: &mut LogThrottle) -> Result<(), Interrupted> {
        let (mut waiting, mut retry_wait) = (VecDeque::from_iter(denied.into_ids()), MIN_RETRY_WAIT);
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

    /// A call of the API failed: waits until it is made again.
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
        Ok(())
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

fn check_current(state: &State, generation: u64) -> Result<(), Interrupted> {
    if state.is_stopping || !state.schedule.is_current(generation) { Err(Interrupted) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let state = |newest, is_stopping| {
            let mut state = State { is_stopping, ..State::default() };
            state.schedule.activated(newest);
            state
        };
        assert!(check_current(&state(2, false), 2).is_ok());
        assert!(check_current(&state(3, false), 2).is_err() && check_current(&state(2, true), 2).is_err());
    }
}
