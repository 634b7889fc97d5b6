//! Logins that are refused without a call of the policy: those that were refused a moment ago, and those of clients that are
//! locked out.
//!
//! Both are forgotten when another policy or other settings become active. An allowed login is never remembered.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use brokers::{Credentials, Route};
use quick_cache::sync::Cache;

use super::code::DecisionCode;
use super::evaluate::PolicyRef;
use super::lockout::Lockout;
use crate::config::{LockoutConfig, LockoutKey};

/// A refusal is repeated for this long without asking the policy. A verdict may depend on the time, in seconds.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);

/// Logins are digested for this long after a refusal. While none is refused, a login costs nothing here; the first refusal
/// is then not remembered.
const DIGESTED_FOR: Duration = Duration::from_secs(10);

/// Refusals that are remembered: those of a second in which a large fleet is refused. An entry has about 100 bytes.
pub(crate) const MAX_REFUSALS: usize = 1 << 16;

/// As [`MAX_REFUSALS`], of one of many tenants.
pub(crate) const MAX_TENANT_REFUSALS: usize = 1 << 10;

/// Logins that need no call of the policy.
pub(crate) struct Refusals {
    hasher: RandomState,
    start: Instant,
    recent: Cache<u64, Refusal>,
    /// Milliseconds from `start` until logins are not digested any more, because none was refused for some time.
    digest_until: AtomicU64,
    lockout: Option<Lockout>,
    repeated: AtomicU64,
    locked: AtomicU64,
}

/// A login that the policy refused.
#[derive(Clone, Copy)]
struct Refusal {
    at: Instant,
    code: DecisionCode,
    policy: PolicyRef,
}

/// A login on its way to the policy.
pub(crate) struct Attempt {
    request: Option<u64>,
    client: Option<u64>,
}

impl Refusals {
    /// At most `max_refusals` refusals are remembered.
    pub(crate) fn new(lockout: Option<LockoutConfig>, max_refusals: usize, now: Instant) -> Self {
        Self {
            hasher: RandomState::new(),
            start: now,
            recent: Cache::new(max_refusals),
            digest_until: AtomicU64::new(0),
            lockout: lockout.map(Lockout::new),
            repeated: AtomicU64::new(0),
            locked: AtomicU64::new(0),
        }
    }

    /// Refusals that were repeated without a call of the policy.
    pub(crate) fn repeated(&self) -> u64 {
        self.repeated.load(Relaxed)
    }

    /// Clients that were locked out.
    pub(crate) fn locked(&self) -> u64 {
        self.locked.load(Relaxed)
    }

    /// Whether a login is refused without a call of the policies that are active now, and by which of them.
    ///
    /// # Errors
    /// It is not. Pass the attempt to [`Self::record`].
    pub(crate) fn find(
        &self,
        route: Route,
        credentials: &Credentials,
        active: PolicyRef,
        now: Instant,
    ) -> Result<(DecisionCode, PolicyRef), Attempt> {
        let is_calm = self.millis(now) >= self.digest_until.load(Relaxed);
        let is_digested = !is_calm || self.lockout.is_some();
        let request = is_digested.then(|| self.digest(fields(route, credentials)));
        let client = self.lockout.as_ref().and_then(|lockout| self.client(lockout.by(), credentials));
        if let (Some(lockout), Some(client)) = (&self.lockout, client)
            && lockout.is_locked_out(client, active.activations, now)
        {
            return Ok((DecisionCode::LockedOut, active));
        }
        if let Some(request) = request
            && let Some(refusal) = self.recent.get(&request)
            && refusal.policy.activations == active.activations
            && now.saturating_duration_since(refusal.at) < REMEMBERED_FOR
        {
            self.repeated.fetch_add(1, Relaxed);
            return Ok((refusal.code, refusal.policy));
        }
        Err(Attempt { request, client })
    }

    /// Takes note of a verdict. Errors of the policy or of the gate are not remembered. Returns whether the client is locked
    /// out from now on.
    pub(crate) fn record(&self, attempt: &Attempt, code: DecisionCode, policy: PolicyRef, now: Instant) -> bool {
        if code == DecisionCode::Allow {
            if let (Some(lockout), Some(client)) = (&self.lockout, attempt.client) {
                lockout.forget(client);
            }
            return false;
        }
        // What the policy lacks now may be available for the next login, and is not the client's fault.
        if code.verdict() != "deny" || code == DecisionCode::ServerUnavailable {
            return false;
        }
        self.digest_until.store(self.millis(now + DIGESTED_FOR), Relaxed);
        let Some(request) = attempt.request else { return false };
        self.recent.insert(request, Refusal { at: now, code, policy });
        let is_locked = match (&self.lockout, attempt.client) {
            (Some(lockout), Some(client)) => lockout.add_failure(client, request, policy.activations, now),
            _ => false,
        };
        self.locked.fetch_add(is_locked.into(), Relaxed);
        is_locked
    }

    fn client(&self, by: LockoutKey, credentials: &Credentials) -> Option<u64> {
        let (client_id, peer) = (&credentials.client_id, credentials.peer_host.as_ref());
        match by {
            LockoutKey::ClientAndPeer => peer.map(|peer| self.digest((client_id, peer))),
            LockoutKey::ClientId => Some(self.digest(client_id)),
            LockoutKey::Peer => peer.map(|peer| self.digest(peer)),
        }
    }

    /// A keyed digest. Without the key, no client can choose two logins with the same one, and among [`MAX_REFUSALS`] logins
    /// two have it by chance once in 2^48 times.
    fn digest(&self, fields: impl Hash) -> u64 {
        self.hasher.hash_one(fields)
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Everything that the policy is asked about a login, and the route on which it is answered.
fn fields(route: Route, credentials: &Credentials) -> impl Hash {
    let Credentials {
        client_id,
        username,
        password,
        authentication_method,
        authentication_data,
        peer_host,
        attributes,
    } = credentials;
    let method = (authentication_method, authentication_data);
    (route, client_id, username, password, method, peer_host, attributes)
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use brokers::Authorizer;
    use mqtt_gate_engine::Digest;
    use mqtt_gate_engine::util::name::Name;

    use super::*;

    const ROUTE: Route = Route::EmqxAuth;
    const WRONG: DecisionCode = DecisionCode::BadUserNameOrPassword;

    fn policy(generation: u64) -> PolicyRef {
        let name = Name::new("policy").unwrap();
        PolicyRef {
            name,
            digest: Digest::of(b"policy"),
            generation,
            activations: generation,
            authorizer: Authorizer::Present,
        }
    }

    fn login(client_id: &str, password: &str, peer: Option<&str>) -> Credentials {
        Credentials {
            client_id: client_id.to_owned(),
            password: Some(password.as_bytes().to_vec()),
            peer_host: peer.map(str::to_owned),
            ..Credentials::default()
        }
    }

    /// Refusals of a gate that has refused a login before.
    fn after_a_refusal(lockout: Option<LockoutConfig>, now: Instant) -> Refusals {
        let refusals = Refusals::new(lockout, MAX_REFUSALS, now);
        decide(&refusals, &login("first", "p", None), WRONG, 1, now);
        refusals
    }

    /// Asks, and records `code` if the policy has to be called. Returns the decision and whether the policy was called.
    fn decide(
        refusals: &Refusals,
        login: &Credentials,
        code: DecisionCode,
        generation: u64,
        now: Instant,
    ) -> (DecisionCode, bool) {
        match refusals.find(ROUTE, login, policy(generation), now) {
            Ok((code, _)) => (code, false),
            Err(attempt) => {
                refusals.record(&attempt, code, policy(generation), now);
                (code, true)
            }
        }
    }

    #[test]
    fn a_refusal_is_repeated_for_a_second_and_an_allow_never() {
        let start = Instant::now();
        let refusals = after_a_refusal(None, start);
        let at = |millis| start + Duration::from_millis(millis);
        let device = login("a", "p", None);
        for (millis, code, expected) in [
            (0, WRONG, (WRONG, true)),
            (999, DecisionCode::Allow, (WRONG, false)),
            (1000, DecisionCode::Allow, (DecisionCode::Allow, true)),
            (1001, WRONG, (WRONG, true)),
        ] {
            assert_eq!(decide(&refusals, &device, code, 1, at(millis)), expected, "{millis}");
        }
        assert_eq!(refusals.repeated(), 1);
    }

    #[test]
    fn nothing_is_digested_while_no_login_is_refused() {
        let start = Instant::now();
        let refusals = Refusals::new(None, MAX_REFUSALS, start);
        let is_digested =
            |now| refusals.find(ROUTE, &login("a", "p", None), policy(1), now).is_err_and(|it| it.request.is_some());
        assert!(!is_digested(start));
        decide(&refusals, &login("b", "p", None), WRONG, 1, start);
        assert!(is_digested(start) && is_digested(start + Duration::from_millis(9_999)));
        assert!(!is_digested(start + DIGESTED_FOR));
    }

    #[test]
    fn every_field_and_the_route_tell_logins_apart() {
        let start = Instant::now();
        let refusals = after_a_refusal(None, start);
        let base = login("a", "p", Some("h"));
        decide(&refusals, &base, WRONG, 1, start);
        let others = [
            login("b", "p", Some("h")),
            login("a", "q", Some("h")),
            login("a", "p", None),
            Credentials { username: Some(String::new()), ..base.clone() },
            Credentials { attributes: vec![("x".to_owned(), String::new())], ..base.clone() },
            login("ap", "", Some("h")),
        ];
        for other in others {
            assert!(refusals.find(ROUTE, &other, policy(1), start).is_err());
        }
        assert!(refusals.find(Route::MqttAuth, &base, policy(1), start).is_err());
        assert!(refusals.find(ROUTE, &base, policy(1), start).is_ok());
    }

    #[test]
    fn an_activation_forgets_refusals_and_errors_are_not_remembered() {
        let start = Instant::now();
        let refusals = after_a_refusal(None, start);
        let device = login("a", "p", None);
        decide(&refusals, &device, WRONG, 1, start);
        assert_eq!(decide(&refusals, &device, DecisionCode::Trap, 2, start), (DecisionCode::Trap, true));
        assert_eq!(decide(&refusals, &device, DecisionCode::Ignore, 2, start), (DecisionCode::Ignore, true));
        assert_eq!(decide(&refusals, &device, DecisionCode::Allow, 2, start), (DecisionCode::Allow, true));
    }

    fn lockout(by: LockoutKey) -> Option<LockoutConfig> {
        let seconds = Duration::from_secs;
        let failures = NonZero::new(3).unwrap();
        Some(LockoutConfig { failures, within: seconds(60), locked_for: seconds(30), by })
    }

    #[test]
    fn a_client_that_keeps_failing_is_locked_out_for_a_time() {
        let start = Instant::now();
        let refusals = after_a_refusal(lockout(LockoutKey::ClientAndPeer), start);
        let at = |second| start + Duration::from_secs(second);
        let attempt =
            |password: &str, second| decide(&refusals, &login("a", password, Some("h")), WRONG, 1, at(second));
        for (password, second) in [("1", 0), ("2", 1), ("3", 2)] {
            assert_eq!(attempt(password, second), (WRONG, true));
        }
        assert_eq!(refusals.locked(), 1);
        assert_eq!(attempt("right", 3), (DecisionCode::LockedOut, false));
        let elsewhere = decide(&refusals, &login("a", "right", Some("other")), DecisionCode::Allow, 1, at(3));
        assert_eq!(elsewhere, (DecisionCode::Allow, true), "a stranger locks out only its own address");
        let next = decide(&refusals, &login("a", "right", Some("h")), DecisionCode::Allow, 2, at(3));
        assert_eq!(next, (DecisionCode::Allow, true), "another policy may allow what this one refused");
        assert_eq!(attempt("4", 32), (WRONG, true), "it is over");
        assert_eq!(attempt("5", 33), (WRONG, true), "and counting begins anew");
    }

    #[test]
    fn the_same_request_counts_once_and_an_allowed_login_clears_the_count() {
        let start = Instant::now();
        let refusals = after_a_refusal(lockout(LockoutKey::ClientId), start);
        let at = |second| start + Duration::from_secs(second);
        let device = |password: &str| login("a", password, None);
        for second in 0..4 {
            assert_eq!(decide(&refusals, &device("same"), WRONG, 1, at(second)), (WRONG, true));
        }
        assert_eq!(decide(&refusals, &device("other"), WRONG, 1, at(4)), (WRONG, true));
        assert_eq!(decide(&refusals, &device("right"), DecisionCode::Allow, 1, at(5)), (DecisionCode::Allow, true));
        for (password, second) in [("1", 6), ("2", 7)] {
            assert_eq!(decide(&refusals, &device(password), WRONG, 1, at(second)), (WRONG, true));
        }
        assert_eq!(refusals.locked(), 0);
    }

    #[test]
    fn failures_that_are_far_apart_do_not_add_up() {
        let start = Instant::now();
        let refusals = after_a_refusal(lockout(LockoutKey::Peer), start);
        for minute in 0..5_u64 {
            let now = start + Duration::from_secs(minute * 61);
            let device = login(&format!("client {minute}"), "p", Some("h"));
            assert_eq!(decide(&refusals, &device, WRONG, 1, now), (WRONG, true));
        }
        let no_peer = login("a", "p", None);
        assert_eq!(decide(&refusals, &no_peer, WRONG, 1, start), (WRONG, true), "an unknown address is not counted");
        assert_eq!(refusals.locked(), 0);
    }
}
