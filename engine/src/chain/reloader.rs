//! Loads the policies of a chain, and changes the chain while it serves.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Release};
use std::time::Instant;

use super::{ActiveChain, Chain, Condition, Member, Mode};
use crate::policy::{LoadError, Sandbox};
use crate::reload::{ActivePolicy, Adoption, LastKnownGood, Observer, PolicyReloader, PolicySource, StateInUse};
use crate::util::name::Name;
use crate::watch::{Reloadable, Waker, Watched};

/// A chain as the operator configured it.
#[derive(Clone)]
pub struct ChainSource {
    /// Its policies in order. At least one of them decides.
    pub members: Vec<MemberSource>,
}

/// A policy of a chain as the operator configured it.
#[derive(Clone, PartialEq)]
pub struct MemberSource {
    /// The operator's name for it.
    pub name: Name,
    /// Whether it decides.
    pub mode: Mode,
    /// The clients that it is asked about.
    pub when: Condition,
    /// Where it is read from. Equal ones load the same policy.
    pub source: PolicySource,
}

/// Observer and state directory of a new policy of a chain.
pub struct MemberSetup {
    /// Receives its events.
    pub observer: Observer,
    /// Where it is kept for a start that finds its file broken; `None`: nowhere.
    pub last_known_good: Option<LastKnownGood>,
}

/// A policy that failed to load.
#[derive(Debug, thiserror::Error)]
#[error("policy `{name}`")]
pub struct MemberError {
    /// The operator's name for it.
    pub name: Name,
    /// Why it cannot be used.
    pub source: MemberProblem,
}

/// Why a policy of a chain cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemberProblem {
    /// It does not work.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Another process uses its state directory.
    #[error(transparent)]
    StateInUse(#[from] StateInUse),
}

impl MemberProblem {
    /// Whether the same policy may load at another time.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Load(error) => error.is_transient(),
            Self::StateInUse(_) => false,
        }
    }
}

/// The policies of a new chain, loaded and ready to be activated together.
pub struct ChainChange {
    members: Vec<(MemberSource, Change)>,
}

/// How a policy of the new chain comes about.
enum Change {
    /// It is in the chain already, from the same source.
    Keep,
    /// It is in the chain already, and is replaced by this one.
    Adopt(Box<Adoption>),
    /// It is new.
    Start(Box<PolicyReloader>),
}

/// The policies that are in a chain already, for a thread that loads its change.
#[derive(Clone, Default)]
pub struct ChainMembers(Vec<(Name, PolicySource, ActivePolicy)>);

/// Reloads the policies of one chain when their files change, and replaces the chain when its configuration does.
///
/// It is the one writer of an [`ActiveChain`].
pub struct ChainReloader {
    members: Vec<(MemberSource, Reloadable<PolicyReloader>)>,
    active: ActiveChain,
    activations: Arc<AtomicU64>,
    waker: Option<Waker>,
}

impl ChainMembers {
    /// Loads what a new chain needs and these members do not have. Changes nothing.
    ///
    /// # Errors
    /// The first policy that does not work. None of the others is activated then.
    pub fn load(
        &self,
        chain: &ChainSource,
        sandbox: &Arc<Sandbox>,
        setup: impl Fn(&MemberSource) -> Result<MemberSetup, StateInUse>,
    ) -> Result<ChainChange, MemberError> {
        let load = |member: &MemberSource| -> Result<_, MemberProblem> {
            let known = self.0.iter().find(|(name, ..)| *name == member.name);
            Ok(match known {
                Some((_, source, _)) if *source == member.source => Change::Keep,
                Some((_, _, active)) => {
                    Change::Adopt(Box::new(PolicyReloader::load_other(&member.source, sandbox, &active.get())?))
                }
                None => {
                    let MemberSetup { observer, last_known_good } = setup(member)?;
                    let (source, sandbox) = (member.source.clone(), Arc::clone(sandbox));
                    Change::Start(Box::new(PolicyReloader::start(source, sandbox, last_known_good, observer)?))
                }
            })
        };
        let load_named = |member: &MemberSource| match load(member) {
            Ok(change) => Ok((member.clone(), change)),
            Err(source) => Err(MemberError { name: member.name, source }),
        };
        chain.members.iter().map(load_named).collect::<Result<_, _>>().map(|members| ChainChange { members })
    }
}

impl ChainReloader {
    /// Activates the first chain.
    #[must_use]
    pub fn start(change: ChainChange) -> Self {
        let activations = Arc::<AtomicU64>::default();
        let chain = Chain::new(Vec::new(), Arc::clone(&activations));
        let mut this = Self { members: Vec::new(), active: ActiveChain::new(chain), activations, waker: None };
        this.apply(change);
        this
    }

    /// Creates a reader of the chain.
    #[must_use]
    pub fn active(&self) -> ActiveChain {
        self.active.clone()
    }

    /// The policies of the chain, for a thread that loads its change.
    #[must_use]
    pub fn members(&self) -> ChainMembers {
        let member = |(member, reloader): &(MemberSource, Reloadable<PolicyReloader>)| {
            (member.name, member.source.clone(), reloader.get().active())
        };
        ChainMembers(self.members.iter().map(member).collect())
    }

    /// Whether this change leaves the chain as it is.
    #[must_use]
    pub fn is_unchanged_by(&self, change: &ChainChange) -> bool {
        let members = self.members.iter().map(|(member, _)| member);
        members.eq(change.members.iter().map(|(member, _)| member))
    }

    /// Makes the new chain the active one, in one atomic store. Its policies were loaded before.
    pub fn apply(&mut self, change: ChainChange) {
        let mut before = std::mem::take(&mut self.members);
        for (source, change) in change.members {
            let index = before.iter().position(|(member, _)| member.name == source.name);
            let known = index.map(|index| before.swap_remove(index).1);
            let reloader = match (change, known) {
                (Change::Keep, Some(known)) => Some(known),
                (Change::Adopt(adoption), Some(mut known)) => {
                    known.update(|reloader| reloader.adopt(*adoption));
                    Some(known)
                }
                (Change::Start(reloader), _) => {
                    let mut reloader = *reloader;
                    reloader.count_in(Arc::clone(&self.activations));
                    let mut reloader = Reloadable::new(reloader);
                    if let Some(waker) = &self.waker {
                        reloader.set_waker(waker.clone());
                    }
                    Some(reloader)
                }
                // Only this object changes the members, so none of those that stay has gone meanwhile.
                (Change::Keep | Change::Adopt(_), None) => None,
            };
            self.members.extend(reloader.map(|reloader| (source, reloader)));
        }
        let member = |(source, reloader): &(MemberSource, Reloadable<PolicyReloader>)| Member {
            name: source.name,
            mode: source.mode,
            when: source.when.clone(),
            active: reloader.get().active(),
            history: reloader.get().history(),
        };
        let members = self.members.iter().map(member).collect();
        self.active.0.store(Arc::new(Chain::new(members, Arc::clone(&self.activations))));
        self.activations.fetch_add(1, Release);
    }
}

impl Watched for ChainReloader {
    fn files(&self) -> Vec<PathBuf> {
        self.members.iter().flat_map(|(_, reloader)| reloader.files()).collect()
    }

    fn poll(&mut self, now: Instant) -> Option<Instant> {
        self.members.iter_mut().filter_map(|(_, reloader)| reloader.poll(now)).min()
    }

    fn set_waker(&mut self, waker: Waker) {
        for (_, reloader) in &mut self.members {
            reloader.set_waker(waker.clone());
        }
        self.waker = Some(waker);
    }
}
