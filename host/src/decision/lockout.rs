//! Clients that keep failing, and for how long they are refused.

use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use crate::config::{LockoutConfig, LockoutKey};

/// Clients whose failures are counted. Further ones displace those that were not seen for the longest time.
const MAX_CLIENTS: usize = 1 << 16;

/// The same request counts once within this time: EMQX sends it up to three times if a connection dies.
const SAME_REQUEST: Duration = Duration::from_secs(5);

/// Failed logins by client. A digest stands for a client and for a request.
pub(super) struct Lockout {
    config: LockoutConfig,
    clients: Cache<u64, Failures>,
}

/// Failed logins of a client.
#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    /// When the first of them was.
    since: Instant,
    last: Instant,
    last_request: u64,
    locked_until: Option<Instant>,
    /// The policy that refused them.
    generation: u64,
}

impl Lockout {
    pub(super) fn new(config: LockoutConfig) -> Self {
        Self { config, clients: Cache::new(MAX_CLIENTS) }
    }

    /// The fields that tell clients apart.
    pub(super) fn by(&self) -> LockoutKey {
        self.config.by
    }

    /// Whether a client is refused. Another policy may allow what an earlier one refused.
    pub(super) fn is_locked_out(&self, client: u64, generation: u64, now: Instant) -> bool {
        let is_locked = |failures: Failures| {
            failures.generation == generation && failures.locked_until.is_some_and(|until| now < until)
        };
        self.clients.get(&client).is_some_and(is_locked)
    }

    /// Forgets the failures of a client that was allowed.
    pub(super) fn forget(&self, client: u64) {
        self.clients.remove(&client);
    }

    /// Counts a failure. Returns whether it locks the client out.
    ///
    /// Two threads that count at the same time may count one failure less. A lockout then takes one login more.
    pub(super) fn add_failure(&self, client: u64, request: u64, generation: u64, now: Instant) -> bool {
        let fresh = Failures { count: 0, since: now, last: now, last_request: 0, locked_until: None, generation };
        let is_current = |failures: &Failures| {
            let is_over = failures.locked_until.is_some_and(|until| now >= until);
            failures.generation == generation
                && !is_over
                && now.saturating_duration_since(failures.since) < self.config.within
        };
        let mut failures = self.clients.get(&client).filter(is_current).unwrap_or(fresh);
        let is_repetition = failures.count > 0
            && failures.last_request == request
            && now.saturating_duration_since(failures.last) < SAME_REQUEST;
        if !is_repetition {
            failures.count += 1;
            (failures.last, failures.last_request) = (now, request);
        }
        let is_locked = failures.count >= self.config.failures.get() && failures.locked_until.is_none();
        if is_locked {
            failures.locked_until = Some(now + self.config.locked_for);
        }
        self.clients.insert(client, failures);
        is_locked
    }
}
