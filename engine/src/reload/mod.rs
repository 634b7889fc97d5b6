//! The swap: reads, checks and activates a policy, and keeps the last known good one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::policy::{LoadError, Policy, Sandbox};
use crate::watch::{Reload, Reloadable, Watched};

mod active;
mod event;
mod history;
mod last_known_good;
mod persist;
mod source;

use history::HistoryWriter;
use persist::Persist;

pub use active::{ActivePolicy, ActivePolicyWriter, ActiveVersion, PolicyOrigin};
pub use event::{Observer, PolicyEvent};
pub use history::{History, HistoryEvent, HistoryEventKind, HistoryReader, Part, Rejection};
pub use last_known_good::LastKnownGood;
pub use source::{Candidate, PolicySource};

/// Activates the policy of a source, and replaces it when the source changes.
///
/// A candidate that fails changes nothing: the active policy stays.
pub struct PolicyReloader {
    source: PolicySource,
    sandbox: Arc<Sandbox>,
    active: ActivePolicyWriter,
    history: HistoryWriter,
    /// Absent: the policy is embedded, or there is no state directory.
    persist: Option<Persist>,
    observer: Observer,
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
            Ok((policy, candidate)) => (policy, source.origin(), Some(candidate)),
            Err(error) => {
                let fallback = last_known_good.as_ref();
                match fallback.and_then(|it| it.load_fallback(&source, &sandbox, &error, &observer)) {
                    Some(policy) => (policy, PolicyOrigin::LastKnownGood, None),
                    None => return Err(error),
                }
            }
        };
        let persist = last_known_good
            .filter(|_| source.origin() == PolicyOrigin::File)
            .map(|last_known_good| Persist::new(last_known_good, candidate));
        let active = ActivePolicyWriter::new(policy, origin, SystemTime::now());
        let mut reloader = Self { source, sandbox, active, history: HistoryWriter::default(), persist, observer };
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
            self.swap(policy, active.origin);
            (self.observer)(&PolicyEvent::PartActivated { on_hold: Part::Component });
        }
        Ok(())
    }

    /// Activates the component with the active settings, if it differs.
    fn activate_component(&mut self) -> Result<(), LoadError> {
        let active = self.active().get();
        let candidate = self.source.read_with_settings(active.policy.shared_settings())?;
        if !self.is_active(&candidate) {
            let policy = candidate.load(&self.sandbox)?;
            self.swap(policy, self.source.origin());
            self.keep(candidate);
            (self.observer)(&PolicyEvent::PartActivated { on_hold: Part::Settings });
        }
        Ok(())
    }

    fn swap(&mut self, policy: Policy, origin: PolicyOrigin) {
        let settings_changed = *self.active().get().policy.settings() != *policy.settings();
        let before = self.active.activate(policy, origin, SystemTime::now());
        let active = self.active().get();
        self.push_activation(&active, settings_changed);
        (self.observer)(&PolicyEvent::Activated { before: &before, active: &active, settings_changed });
    }

    /// Keeps a component as the last known good one.
    fn keep(&mut self, candidate: Candidate) {
        if let Some(persist) = &mut self.persist {
            persist.schedule(candidate);
            persist.poll(Instant::now(), &self.observer);
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

impl Reload for PolicyReloader {
    type Contents = Candidate;
    type Value = Policy;
    type Error = LoadError;

    fn files(&self) -> Vec<PathBuf> {
        self.source.files()
    }

    fn read(&self) -> Result<Candidate, LoadError> {
        self.source.read()
    }

    fn load(&self, candidate: &Candidate) -> Result<Policy, LoadError> {
        let active = self.active().get();
        if candidate.digest() == active.policy.digest() {
            return active.policy.with_settings(candidate.settings());
        }
        candidate.load(&self.sandbox)
    }

    /// The last known good policy is never the one in the file, even if their bytes are equal.
    fn is_active(&self, candidate: &Candidate) -> bool {
        let active = self.active().get();
        candidate.is_same_as(&active.policy) && active.origin != PolicyOrigin::LastKnownGood
    }

    fn activate(&mut self, candidate: Candidate, policy: Policy) {
        self.history.set_on_hold(None);
        self.swap(policy, self.source.origin());
        self.keep(candidate);
    }

    fn reject(&mut self, candidate: Option<&Candidate>, reason: &str) {
        let digest = candidate.map(Candidate::digest);
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

    fn maintain(&mut self, now: Instant) {
        if let Some(persist) = &mut self.persist {
            persist.poll(now, &self.observer);
        }
    }
}
