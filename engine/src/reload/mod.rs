//! The swap: reads, checks and activates a policy, and keeps the last known good one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use crate::policy::{CompileControl, Digest, LoadError, Policy, Sandbox};
use crate::util::file::is_detached;
use crate::util::sanitize;
use crate::watch::{Load, Reload, Reloadable, Waker, Watched};

mod active;
mod event;
mod history;
mod last_known_good;
mod persist;
mod source;
mod state_lock;
mod trial;

use history::HistoryWriter;
use persist::Persist;
use trial::TrialState;

pub use active::{ActivePolicy, ActivePolicyWriter, ActiveVersion, PolicyOrigin};
pub use event::{Observer, PolicyEvent};
pub use history::{History, HistoryEvent, HistoryEventKind, HistoryReader, Loading, Part, Rejection};
pub use last_known_good::{LastKnownGood, StateOwner};
pub use source::{Candidate, PolicySource};
pub use state_lock::StateInUse;

/// How long an instance may be idle, at least. A reconnect storm makes more instances than an ordinary hour needs.
const RELEASE_INTERVAL: Duration = Duration::from_secs(10);

/// Activates the policy of a source, and replaces it when the source changes.
///
/// A candidate that fails changes nothing: the active policy stays. A policy that fails its first calls after it was
/// activated makes room for the component before, with the current settings: former settings may hold a revoked key.
pub struct PolicyReloader {
    source: PolicySource,
    sandbox: Arc<Sandbox>,
    active: ActivePolicyWriter,
    /// Component and settings that the active policy was loaded from.
    candidate: Arc<Candidate>,
    /// Version that the active component replaced. Absent: the active component is the first one, it has allowed a client,
    /// or the gate has returned to it.
    before: Option<Before>,
    /// Component that failed its first calls. It is not activated again until the file holds another one.
    faulty: Option<Digest>,
    /// Generation whose failure was handled last.
    handled_failure: Option<u64>,
    /// Absent: no thread watches.
    waker: Option<Waker>,
    /// When unused instances are dropped next.
    next_release: Instant,
    history: HistoryWriter,
    /// Absent: the policy is embedded, or there is no state directory.
    persist: Option<Persist>,
    observer: Observer,
}

/// A policy that was loaded from another source.
pub(crate) struct Adoption {
    source: PolicySource,
    candidate: Arc<Candidate>,
    policy: Policy,
}

/// A version that was replaced, until the one after it works.
struct Before {
    version: Arc<ActiveVersion>,
    candidate: Arc<Candidate>,
}

impl PolicyReloader {
    /// Loads and activates the first policy.
    ///
    /// If the policy file is at fault and `last_known_good` holds a policy that works, that one is activated.
    ///
    /// # Errors
    /// No policy works.
    pub fn start(
        source: PolicySource,
        sandbox: Arc<Sandbox>,
        last_known_good: Option<LastKnownGood>,
        observer: Observer,
    ) -> Result<Self, LoadError> {
        let loaded = source.read().and_then(|candidate| Ok((candidate.load(&sandbox)?, candidate)));
        let (policy, origin, candidate) = match loaded {
            Ok((policy, candidate)) => (policy, source.origin(), candidate),
            Err(error) => {
                let fallback = last_known_good.as_ref();
                match fallback.and_then(|it| it.load_fallback(&source, &sandbox, &error, &observer)) {
                    Some((candidate, policy)) => (policy, PolicyOrigin::LastKnownGood, candidate),
                    None => return Err(error),
                }
            }
        };
        let candidate = Arc::new(candidate);
        let persist = last_known_good
            .filter(|_| source.origin() == PolicyOrigin::File)
            .map(|last_known_good| Persist::new(last_known_good, Some(Arc::clone(&candidate))));
        let mut reloader = Self {
            source,
            sandbox,
            active: ActivePolicyWriter::new(policy, origin, SystemTime::now()),
            candidate,
            before: None,
            faulty: None,
            handled_failure: None,
            waker: None,
            next_release: Instant::now() + RELEASE_INTERVAL,
            history: HistoryWriter::default(),
            persist,
            observer,
        };
        let version = reloader.active().get();
        reloader.push_activation(&version, false);
        (reloader.observer)(&PolicyEvent::Loaded(&version));
        Ok(reloader)
    }

    /// Creates a reader of the active policy.
    #[must_use]
    pub fn active(&self) -> ActivePolicy {
        self.active.reader()
    }

    /// Creates a reader of the history.
    #[must_use]
    pub fn history(&self) -> HistoryReader {
        self.history.reader()
    }

    /// Counts the activations of this policy here, together with those of others.
    pub(crate) fn count_in(&mut self, activations: Arc<AtomicU64>) {
        self.active.count_in(activations);
    }

    /// Loads the policy of another source for [`Self::adopt`]. Changes nothing.
    ///
    /// # Errors
    /// The policy of the source does not work.
    pub(crate) fn load_other(
        source: &PolicySource,
        sandbox: &Arc<Sandbox>,
        active: &ActiveVersion,
    ) -> Result<Adoption, LoadError> {
        let candidate = source.read()?;
        let policy = if candidate.digest() == active.policy.digest() {
            active.policy.with_settings_and_limits(candidate.settings(), candidate.limits(sandbox))?
        } else {
            candidate.load_with(sandbox, &CompileControl::in_background())?
        };
        policy.warm_up(&active.policy)?;
        Ok(Adoption { source: source.clone(), candidate: Arc::new(candidate), policy })
    }

    /// Activates a policy that was loaded from another source, and reloads it from there from now on. Readers that exist
    /// keep the version before.
    pub(crate) fn adopt(&mut self, adoption: Adoption) {
        let Adoption { source, candidate, policy } = adoption;
        // The chain before must not get it: a chain is old or new as a whole.
        self.active.detach();
        self.source = source;
        self.history.set_on_hold(None);
        self.faulty = None;
        let origin = self.source.origin();
        self.swap(candidate, policy, origin);
    }

    /// Hands the reloader to a [`crate::watch::WatchThread`].
    #[must_use]
    pub fn into_watched(self) -> Box<dyn Watched> {
        Box::new(Reloadable::new(self))
    }

    /// Activates the settings with the active component, if they differ.
    fn activate_settings(&mut self) -> Result<(), LoadError> {
        let (active, settings) = (self.active().get(), self.source.read_settings()?);
        if *settings != *active.policy.settings() {
            let policy = active.policy.with_settings(settings)?;
            policy.warm_up(&active.policy)?;
            self.swap(Arc::clone(&self.candidate), policy, active.origin);
            (self.observer)(&PolicyEvent::PartActivated { on_hold: Part::Component });
        }
        Ok(())
    }

    /// Activates the component with the active settings, if it differs.
    fn activate_component(&mut self) -> Result<(), LoadError> {
        let active = self.active().get();
        let candidate = Arc::new(self.source.read_with_settings(active.policy.shared_settings())?);
        if !self.is_active(&candidate) {
            let policy = self.load(&candidate)?;
            self.swap(candidate, policy, self.source.origin());
            (self.observer)(&PolicyEvent::PartActivated { on_hold: Part::Settings });
        }
        Ok(())
    }

    /// Makes a policy the active one, and keeps its component as the last known good one.
    fn swap(&mut self, candidate: Arc<Candidate>, policy: Policy, origin: PolicyOrigin) {
        let settings_changed = *self.active().get().policy.settings() != *policy.settings();
        let before = self.active.activate(policy, origin, SystemTime::now());
        let active = self.active().get();
        self.push_activation(&active, settings_changed);
        (self.observer)(&PolicyEvent::Activated { before: &before, active: &active, settings_changed });
        let candidate_before = std::mem::replace(&mut self.candidate, candidate);
        if active.policy.digest() != before.policy.digest() {
            let works = before.trial() != TrialState::Failed;
            self.before = works.then_some(Before { version: before, candidate: candidate_before });
        }
        if let Some(persist) = &mut self.persist {
            persist.schedule(Arc::clone(&self.candidate));
            persist.poll(Instant::now(), &self.observer);
        }
    }

    /// Ends the trial of the active policy, if it has passed or failed.
    fn end_trial(&mut self) {
        match self.active().get().trial() {
            TrialState::Running => {}
            TrialState::Passed => self.before = None,
            TrialState::Failed => self.return_to_component_before(),
        }
        if let Some(before) = &self.before {
            // Calls that ran during the swap have left their instances.
            before.version.policy.release_idle_instances();
        }
    }

    /// Replaces the active component, which fails every call, by the one before. There is no return from a return.
    fn return_to_component_before(&mut self) {
        let failed = self.active().get();
        if self.handled_failure == Some(failed.generation) {
            return;
        }
        self.handled_failure = Some(failed.generation);
        let digest = failed.policy.digest();
        let before = self.before.take();
        let settings = failed.policy.shared_settings();
        match before.map(|before| before.version.policy.with_settings(settings).map(|policy| (before, policy))) {
            Some(Ok((before, policy))) => {
                self.faulty = Some(digest);
                (self.observer)(&PolicyEvent::Returned { from: digest, to: policy.digest() });
                self.history.push_return(Rejection {
                    digest: Some(digest),
                    reason: LoadError::FailsEveryCall.to_string(),
                    at: SystemTime::now(),
                });
                self.swap(before.candidate, policy, before.version.origin);
                self.before = None;
            }
            Some(Err(error)) => {
                let reason = sanitize::error_chain(&error);
                (self.observer)(&PolicyEvent::CannotReturn { from: digest, reason: Some(&reason) });
            }
            None => (self.observer)(&PolicyEvent::CannotReturn { from: digest, reason: None }),
        }
    }

    fn push_activation(&mut self, version: &ActiveVersion, settings_changed: bool) {
        let kind = HistoryEventKind::Activated {
            name: version.policy.name().to_owned(),
            digest: version.policy.digest(),
            generation: version.generation,
            settings_changed,
        };
        self.history.push(version.since, kind);
    }
}

/// Loads another component, and makes it ready for the threads that call the active one.
fn load_component(
    candidate: &Candidate,
    sandbox: &Arc<Sandbox>,
    control: &CompileControl,
    active: &ActiveVersion,
) -> Result<Policy, LoadError> {
    let policy = candidate.load_with(sandbox, control)?;
    policy.warm_up(&active.policy)?;
    Ok(policy)
}

impl PolicyReloader {
    /// Reports the files that can never change again.
    fn look_for_detached_files(&mut self) {
        let detached = self.source.files().into_iter().filter(|file| is_detached(file)).collect();
        for path in self.history.set_detached_files(detached) {
            (self.observer)(&PolicyEvent::FileDetached { path: &path });
        }
    }
}

impl Reload for PolicyReloader {
    type Contents = Arc<Candidate>;
    type Value = Policy;
    type Error = LoadError;

    fn files(&self) -> Vec<PathBuf> {
        self.source.files()
    }

    fn read(&self) -> Result<Arc<Candidate>, LoadError> {
        self.source.read().map(Arc::new)
    }

    fn load(&self, candidate: &Arc<Candidate>) -> Result<Policy, LoadError> {
        if self.faulty == Some(candidate.digest()) {
            return Err(LoadError::FailsEveryCall);
        }
        let active = self.active().get();
        // Room for the instances of preflight.
        active.policy.release_idle_instances();
        if candidate.digest() == active.policy.digest() {
            let policy = active.policy.with_settings(candidate.settings())?;
            policy.warm_up(&active.policy)?;
            return Ok(policy);
        }
        load_component(candidate, &self.sandbox, &CompileControl::in_background(), &active)
    }

    /// Compiles another component on another thread.
    fn load_aside(&mut self, candidate: &Arc<Candidate>) -> Option<Load<Result<Policy, LoadError>>> {
        let active = self.active().get();
        if self.faulty == Some(candidate.digest()) || candidate.digest() == active.policy.digest() {
            return None;
        }
        active.policy.release_idle_instances();
        let (control, sandbox) = (CompileControl::in_background(), Arc::clone(&self.sandbox));
        let (candidate_to_load, cancel) = (Arc::clone(candidate), control.clone());
        let load = move || load_component(&candidate_to_load, &sandbox, &control, &active);
        let load = Load::spawn(load, move || cancel.cancel(), self.waker.clone()).ok()?;
        self.history.set_loading(Some(Loading { digest: candidate.digest(), since: SystemTime::now() }));
        Some(load)
    }

    fn load_ended(&mut self) {
        self.history.set_loading(None);
    }

    /// The last known good policy is never the one in the file, nor is one that was returned to, even if their bytes are
    /// equal.
    fn is_active(&self, candidate: &Arc<Candidate>) -> bool {
        let active = self.active().get();
        let is_of_file = active.origin != PolicyOrigin::LastKnownGood && self.faulty.is_none();
        is_of_file && candidate.is_same_as(&active.policy)
    }

    fn activate(&mut self, candidate: Arc<Candidate>, policy: Policy) {
        self.history.set_on_hold(None);
        self.faulty = None;
        self.swap(candidate, policy, self.source.origin());
    }

    fn reject(&mut self, candidate: Option<&Arc<Candidate>>, reason: &str) {
        let digest = candidate.map(|candidate| candidate.digest());
        let active = self.active().get().policy.digest();
        (self.observer)(&PolicyEvent::Rejected { candidate: digest, active, reason });
        self.history.push_rejection(Rejection { digest, reason: reason.to_owned(), at: SystemTime::now() });
    }

    /// Tries the settings with the active component, and else the component with the active settings: a revoked key must
    /// not stay valid because the policy file is bad, and a lockdown must not wait for a key file.
    fn activate_part(&mut self) {
        let on_hold = match self.activate_settings() {
            Ok(()) => Part::Component,
            Err(_) => match self.activate_component() {
                Ok(()) => Part::Settings,
                Err(_) => Part::Any,
            },
        };
        self.history.set_on_hold(Some(on_hold));
    }

    fn restore(&mut self) {
        self.history.set_on_hold(None);
        self.history.push(SystemTime::now(), HistoryEventKind::Restored);
        (self.observer)(&PolicyEvent::Restored);
    }

    fn unstable(&mut self) {
        (self.observer)(&PolicyEvent::Unstable);
    }

    fn is_transient(error: &LoadError) -> bool {
        error.is_transient()
    }

    fn set_waker(&mut self, waker: Waker) {
        self.active.set_waker(waker.clone());
        self.waker = Some(waker);
    }

    fn maintain(&mut self, now: Instant) {
        self.end_trial();
        if self.next_release <= now {
            self.active().get().policy.release_unused_instances();
            self.next_release = now + RELEASE_INTERVAL;
            self.look_for_detached_files();
        }
        if let Some(persist) = &mut self.persist {
            persist.poll(now, &self.observer);
        }
    }
}
