//! A chain of policies: the first verdict that is not *ignore* counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};

use crate::policy::{AuthorizeRequest, CallError, Credentials, Digest, Permission, Policy, Verdict};
use crate::reload::{ActivePolicy, ActiveVersion, HistoryReader};
use crate::util::name::Name;

mod condition;
mod reloader;

pub use condition::{Condition, Facts};
pub use reloader::{
    ChainChange, ChainMembers, ChainReloader, ChainSource, MemberError, MemberProblem, MemberSetup, MemberSource,
};

/// Whether a policy of a chain decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Its verdict counts.
    #[default]
    Enforce,
    /// The host calls it besides, and its verdict never counts.
    Monitor,
}

/// One policy of a chain.
#[derive(Clone)]
pub struct Member {
    /// The operator's name for it.
    pub name: Name,
    /// Whether it decides.
    pub mode: Mode,
    /// The clients that it is asked about.
    pub when: Condition,
    /// Its active version.
    pub active: ActivePolicy,
    /// Its history.
    pub history: HistoryReader,
}

/// Policies in the order in which they are asked. At least one of them decides.
pub struct Chain {
    members: Vec<Member>,
    cpu_timeout: Duration,
    wall_timeout: Duration,
    /// Counts the activations of all members.
    activations: Arc<AtomicU64>,
}

/// Reader of the chain that is active. Cheap to clone.
#[derive(Clone)]
pub struct ActiveChain(Arc<ArcSwap<Chain>>);

/// The version of the policy that decided, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decider {
    /// The operator's name for the policy.
    pub name: Name,
    /// SHA-256 of its component.
    pub digest: Digest,
    /// 1 for its first version in this process, one more after each swap.
    pub generation: u64,
    /// Number of activations in the chain before the request.
    pub activations: u64,
    /// Whether the policy answers authorize requests.
    pub has_authorizer: bool,
    /// Its place in the chain. That of the last policy if all of them ignored the client.
    pub index: usize,
}

/// Result of asking a chain.
#[derive(Debug)]
pub struct ChainEvaluation<T> {
    /// The policy that decided or failed.
    pub by: Decider,
    /// The first verdict that is not *ignore*. An error: there is none, and the client must be denied.
    pub result: Result<T, CallError>,
}

impl ActiveChain {
    fn new(chain: Chain) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(chain)))
    }

    /// The chain now. Do not hold the guard across an await.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Chain>> {
        self.0.load()
    }

    /// The chain now, to keep.
    #[must_use]
    pub fn get(&self) -> Arc<Chain> {
        self.0.load_full()
    }
}

impl Chain {
    /// The limits of policies change only with the chain.
    fn new(members: Vec<Member>, activations: Arc<AtomicU64>) -> Self {
        let longest = |timeout: fn(&Policy) -> Duration| {
            members.iter().map(|member| timeout(&member.active.load().policy)).max().unwrap_or_default()
        };
        let (cpu_timeout, wall_timeout) = (longest(Policy::cpu_timeout), longest(Policy::wall_timeout));
        Self { members, cpu_timeout, wall_timeout, activations }
    }

    /// The policies in order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The policies whose verdict counts, each with its place.
    pub fn enforced(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.members.iter().enumerate().filter(|(_, member)| member.mode == Mode::Enforce)
    }

    /// Whether a policy is called besides, without deciding.
    #[must_use]
    pub fn has_monitors(&self) -> bool {
        self.members.iter().any(|member| member.mode == Mode::Monitor)
    }

    /// The policies that are called besides, and that would have been asked before the policy at `decided_at` was.
    pub fn monitors<'a>(&'a self, facts: &Facts<'a>, decided_at: usize) -> impl Iterator<Item = &'a Member> {
        let is_reached = move |(index, member): &(usize, &Member)| member.mode == Mode::Monitor && *index < decided_at;
        let facts = *facts;
        self.members
            .iter()
            .enumerate()
            .filter(is_reached)
            .map(|(_, member)| member)
            .filter(move |it| it.when.includes(&facts))
    }

    /// Number of activations in this chain.
    #[must_use]
    pub fn activations(&self) -> u64 {
        self.activations.load(Acquire)
    }

    /// Processor time that the call of one policy may use, at most.
    #[must_use]
    pub fn cpu_timeout(&self) -> Duration {
        self.cpu_timeout
    }

    /// Wall time that a request may take, whatever the number of policies.
    #[must_use]
    pub fn wall_timeout(&self) -> Duration {
        self.wall_timeout
    }

    /// Whether a policy has been slow lately. Counts as one call.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.enforced().any(|(_, member)| member.active.load().policy.is_slow())
    }

    /// Whether a policy answers authorize requests.
    #[must_use]
    pub fn has_authorizer(&self) -> bool {
        self.enforced().any(|(_, member)| member.active.load().policy.has_authorizer())
    }

    /// Whether a policy has failed 20 calls in a row, and never allowed anything.
    #[must_use]
    pub fn fails_every_call(&self) -> bool {
        self.enforced().any(|(_, member)| member.active.load().fails_every_call())
    }

    /// The policy that would be asked first: for requests that are decided without a call.
    #[must_use]
    pub fn first(&self) -> Option<Decider> {
        let activations = self.activations();
        self.enforced().next().map(|(index, member)| decider(index, member, &member.active.load(), activations))
    }

    /// Judges a login within this wall time. [`Verdict::Ignore`]: every policy ignores the client, so it must be denied.
    #[must_use]
    pub fn authenticate_within(
        &self,
        credentials: &Credentials,
        max_wall: Duration,
    ) -> Option<ChainEvaluation<Verdict>> {
        let ask = |version: &ActiveVersion, max_wall| match version.authenticate_within(credentials, max_wall)? {
            Verdict::Ignore => Ok(None),
            verdict => Ok(Some(verdict)),
        };
        let asked = self.ask(&Facts::from(credentials), max_wall, ask)?;
        Some(asked.map(|verdict| verdict.unwrap_or(Verdict::Ignore)))
    }

    /// Judges every action of a connected client within this wall time. For each action, the first permission that is not
    /// *ignore* counts.
    #[must_use]
    pub fn authorize_within(
        &self,
        request: &AuthorizeRequest,
        max_wall: Duration,
    ) -> Option<ChainEvaluation<Vec<Permission>>> {
        let mut permissions = vec![Permission::Ignore; request.actions.len()];
        let ask = |version: &ActiveVersion, max_wall| {
            if !version.policy.has_authorizer() {
                return Ok(None);
            }
            if permissions.iter().all(|permission| *permission == Permission::Ignore) {
                permissions = version.authorize_within(request, max_wall)?;
            } else {
                let is_open = |(_, permission): &(usize, &mut Permission)| **permission == Permission::Ignore;
                let mut open: Vec<_> = permissions.iter_mut().enumerate().filter(is_open).collect();
                let actions = open.iter().filter_map(|(index, _)| request.actions.get(*index).cloned()).collect();
                let rest = AuthorizeRequest { actions, ..request.clone() };
                for ((_, permission), new) in open.iter_mut().zip(version.authorize_within(&rest, max_wall)?) {
                    **permission = new;
                }
            }
            // One denial decides about the request.
            let is_decided = permissions.contains(&Permission::Deny)
                || permissions.iter().all(|permission| *permission != Permission::Ignore);
            Ok(is_decided.then_some(()))
        };
        let asked = self.ask(&Facts::from(request), max_wall, ask)?;
        Some(asked.map(|_| permissions))
    }

    /// Asks the policies in order until one decides or fails. `None`: the chain has no policy that decides.
    ///
    /// A failure ends the walk: a policy that cannot judge a client must not let the next one admit it.
    fn ask<T>(
        &self,
        facts: &Facts,
        max_wall: Duration,
        mut ask: impl FnMut(&ActiveVersion, Duration) -> Result<Option<T>, CallError>,
    ) -> Option<ChainEvaluation<Option<T>>> {
        let activations = self.activations();
        // The clock is read only where time can pass between two calls.
        let started = (self.members.len() > 1).then(Instant::now);
        let mut last = None;
        for (index, member) in self.enforced().filter(|(_, member)| member.when.includes(facts)) {
            let version = member.active.load();
            let wall_left = started.map_or(max_wall, |started| max_wall.saturating_sub(started.elapsed()));
            let result = ask(&version, wall_left.min(version.policy.wall_timeout()));
            let by = decider(index, member, &version, activations);
            match result {
                Ok(None) => last = Some(by),
                Ok(Some(verdict)) => return Some(ChainEvaluation { by, result: Ok(Some(verdict)) }),
                Err(error) => return Some(ChainEvaluation { by, result: Err(error) }),
            }
        }
        Some(ChainEvaluation { by: last.or_else(|| self.first())?, result: Ok(None) })
    }
}

impl<T> ChainEvaluation<T> {
    fn map<U>(self, map: impl FnOnce(T) -> U) -> ChainEvaluation<U> {
        ChainEvaluation { by: self.by, result: self.result.map(map) }
    }
}

fn decider(index: usize, member: &Member, version: &ActiveVersion, activations: u64) -> Decider {
    Decider {
        name: member.name,
        digest: version.policy.digest(),
        generation: version.generation,
        activations,
        has_authorizer: version.policy.has_authorizer(),
        index,
    }
}
