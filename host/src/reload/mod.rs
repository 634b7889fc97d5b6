//! The swap: the one place that puts a policy in service.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use mqtt_gate_engine::reload::active::{ActivePolicy, Publisher, Source};
use crate::reload::source::{Candidate, Origin};
use mqtt_gate_engine::policy::instance_count::Census;
use crate::config::KEY_SETTING;
use crate::watch::notify::Hints;
use crate::reload::history::{Event, History, Rejection, What};
use crate::reload::persist::Keeper;
use crate::reload::last_known_good::LastGood;
use mqtt_gate_engine::util::sanitize;
use mqtt_gate_engine::policy::{Digest, LoadError, Policy};
use crate::watch::read::Reading;
use mqtt_gate_engine::policy::sandbox::Sandbox;
use crate::util::shutdown::Stopping;
use crate::systemd;

/// A candidate has to stand still for this long before it is loaded.
const SETTLE: Duration = Duration::from_millis(100);

/// A hint is followed up after this time, so that a file that is written to all the time costs little.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a file that never stands still is waited for, before it is left to the next look.
const MOST_SETTLING: Duration = Duration::from_secs(2);

/// How often to look without a hint.
const LOOK: Duration = Duration::from_secs(2);

/// The longest wait between two attempts at a candidate that failed for a passing reason.
const LONGEST_RETRY: Duration = Duration::from_secs(64);

/// Watches for another policy and puts it in service, if it is good.
///
/// The only writer of what everyone else holds as [`ActivePolicy`]. A candidate that fails changes nothing.
pub(crate) struct Reloader {
    origin: Origin,
    sandbox: Arc<Sandbox>,
    publisher: Publisher,
    history: watch::Sender<History>,
    failed: Option<Failed>,
    /// If what serves is kept at all.
    keeper: Option<Keeper>,
    reading: Reading<Result<Candidate, LoadError>>,
    /// Whether the files could not be read in time, so that it is said once.
    is_unsettled: bool,
}

/// The last thing that could not be put in service, so that it is complained of once.
struct Failed {
    candidate: Option<Candidate>,
    reason: String,
    retry: Option<Retry>,
}

/// What a look finds.
enum Found {
    /// The component and the settings of the policy in service.
    WhatServes,
    /// What has failed already, and is not to be tried again yet.
    WhatFailed,
    /// Something that could serve.
    New(Candidate),
}

/// When to try again what failed for a passing reason.
#[derive(Clone, Copy)]
struct Retry {
    at: Instant,
    next_wait: Duration,
}

impl Reloader {
    /// Loads the first policy.
    ///
    /// # Errors
    /// There is none that works.
    pub(crate) fn start(origin: Origin, sandbox: Arc<Sandbox>, last_good: LastGood) -> Result<Self, LoadError> {
        let loaded = origin.read().and_then(|candidate| Ok((candidate.load(&sandbox)?, Some(candidate))));
        let (policy, from, to_keep) = match loaded {
            Ok((policy, candidate)) => (policy, origin.source(), candidate),
            Err(error) => match last_good.stand_in(&origin, &sandbox, &error) {
                Some(policy) => (policy, Source::LastGood, None),
                None => return Err(error),
            },
        };
        tracing::info!(name = policy.name(), sha256 = %policy.digest(), from = from.name(), "policy loaded");
        remark_on_settings(&policy);
        let is_kept = origin.source() == Source::File && last_good.is_kept();
        let keeper = is_kept.then(|| Keeper::new(last_good, to_keep));
        let publisher = Publisher::new(policy, from, SystemTime::now());
        let history = watch::Sender::default();
        let reloader = Self {
            origin,
            sandbox,
            publisher,
            history,
            failed: None,
            keeper,
            reading: Reading::default(),
            is_unsettled: false,
        };
        reloader.remember(false);
        Ok(reloader)
    }

    pub(crate) fn active(&self) -> ActivePolicy {
        self.publisher.active()
    }

    /// Counts the instances of its policies.
    pub(crate) fn census(&self) -> Arc<Census> {
        Arc::clone(&self.sandbox.census)
    }

    pub(crate) fn history(&self) -> watch::Receiver<History> {
        self.history.subscribe()
    }

    /// Looks at every hint, and every few seconds, until the gate stops.
    pub(crate) async fn run(mut self, mut stopping: Stopping) {
        if self.origin.files().next().is_none() {
            return;
        }
        tokio::select! {
            () = stopping.wait() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&mut self) {
        let mut hints = Hints::of(self.origin.files());
        loop {
            // First of all: what changed between the first reading and the watch gave no hint.
            self.look().await;
            if let Some(keeper) = &mut self.keeper {
                keeper.go_on().await;
            }
            tokio::select! {
                () = hints.next() => sleep(PAUSE).await,
                () = sleep(LOOK) => hints.watch(),
            }
        }
    }

    /// Looks at what is there, and puts it in service if it is new and good.
    async fn look(&mut self) {
        // What does not stand still now is left to the next look.
        let Ok(found) = timeout(MOST_SETTLING, self.find()).await else {
            if !std::mem::replace(&mut self.is_unsettled, true) {
                let remedy = "look at the disk, and at who writes there all the time";
                tracing::warn!(
                    remedy,
                    "the policy file and the settings cannot be read in time, or do not stand still"
                );
            }
            return;
        };
        self.is_unsettled = false;
        match found {
            Ok(Found::New(candidate)) => self.try_out(candidate).await,
            Ok(Found::WhatServes) if self.failed.take().is_some() => {
                tracing::info!("the policy file and the settings are again what serves");
                let event = Event { at: SystemTime::now(), what: What::Restored };
                self.history.send_modify(|history| history.remember(event));
            }
            Ok(Found::WhatServes | Found::WhatFailed) => {}
            Err(error) => self.reject(None, error),
        }
    }

    /// What is there, once it has stood still.
    async fn find(&mut self) -> Result<Found, LoadError> {
        let mut seen = self.read().await?;
        loop {
            if self.serves(&seen) {
                return Ok(Found::WhatServes);
            }
            if !self.is_due(&seen) {
                return Ok(Found::WhatFailed);
            }
            sleep(SETTLE).await;
            let again = self.read().await?;
            if again == seen {
                return Ok(Found::New(seen));
            }
            seen = again;
        }
    }

    /// Whether this is what serves, and out of its own file.
    fn serves(&self, candidate: &Candidate) -> bool {
        let serving = self.publisher.active().get();
        candidate.is(&serving.policy) && serving.from != Source::LastGood
    }

    /// Reads it, twice if need be: between the two steps of a replacement there is no file.
    async fn read(&mut self) -> Result<Candidate, LoadError> {
        match self.read_once().await {
            Ok(candidate) => Ok(candidate),
            Err(_) => {
                sleep(SETTLE).await;
                self.read_once().await
            }
        }
    }

    async fn read_once(&mut self) -> Result<Candidate, LoadError> {
        let origin = self.origin.clone();
        self.reading.next(Instant::now().into_std(), move || origin.read()).await.unwrap_or(Err(LoadError::Panicked))
    }

    async fn try_out(&mut self, candidate: Candidate) {
        let (sandbox, loading) = (Arc::clone(&self.sandbox), candidate.clone());
        match off_the_runtime(move || loading.load(&sandbox)).await {
            Ok(policy) => {
                self.publish(policy);
                if let Some(keeper) = &mut self.keeper {
                    keeper.keep(candidate);
                }
            }
            Err(error) => self.reject(Some(candidate), error),
        }
    }

    /// Whether to try this candidate: not if it has failed already, unless that was for a passing reason and long ago.
    fn is_due(&self, candidate: &Candidate) -> bool {
        match &self.failed {
            Some(failed) if failed.candidate.as_ref() == Some(candidate) => {
                failed.retry.is_some_and(|retry| Instant::now() >= retry.at)
            }
            _ => true,
        }
    }

    fn publish(&mut self, policy: Policy) {
        self.failed = None;
        let (name, to) = (policy.name().to_owned(), policy.digest());
        remark_on_settings(&policy);
        let settings_changed = *self.publisher.active().get().policy.settings() != *policy.settings();
        let before = self.publisher.publish(policy, self.origin.source(), SystemTime::now());
        let (generation, from) = (before.generation + 1, before.policy.digest());
        tracing::info!(name, %from, %to, settings_changed, generation, "policy swapped");
        self.remember(settings_changed);
        supervisor::swapped(&self.publisher.active().get());
    }

    /// Keeps the policy that serves. The same thing failing again, for the same reason, is not told twice.
    fn reject(&mut self, candidate: Option<Candidate>, error: LoadError) {
        let reason = sanitize::chain(&error);
        let again = self.failed.as_ref().filter(|failed| failed.candidate == candidate);
        let wait = again.and_then(|failed| failed.retry).map_or(LOOK, |retry| retry.next_wait);
        let retry =
            error.is_passing().then(|| Retry { at: Instant::now() + wait, next_wait: LONGEST_RETRY.min(wait * 2) });
        let told = again.is_some_and(|failed| failed.reason == reason);
        if !told {
            self.tell(candidate.as_ref().map(|candidate| candidate.digest), &reason);
        }
        self.failed = Some(Failed { candidate, reason, retry });
    }

    fn tell(&self, digest: Option<Digest>, reason: &str) {
        let serving = self.publisher.active().get().policy.digest();
        let candidate = digest.map_or_else(|| "unread".to_owned(), |digest| digest.to_string());
        tracing::error!(candidate, serving = %serving, reason, "policy rejected; the one in service goes on");
        let rejection = Rejection { digest, reason: reason.to_owned(), at: SystemTime::now() };
        self.history.send_modify(|history| history.reject(rejection));
    }

    /// Takes note of what serves now.
    fn remember(&self, settings_changed: bool) {
        let serving = self.publisher.active().get();
        let (name, digest) = (serving.policy.name().to_owned(), serving.policy.digest());
        let what = What::Serves { name, digest, generation: serving.generation, settings_changed };
        self.history.send_modify(|history| history.remember(Event { at: serving.since, what }));
    }
}

/// Says what an operator may not have meant.
fn remark_on_settings(policy: &Policy) {
    let unread = policy.unread_settings();
    if !unread.is_empty() {
        let settings = unread.join(", ");
        tracing::info!(settings, "settings that this policy does not read: misspelt, or meant for another one");
    }
    if policy.uses("allow-insecure-key") && policy.settings().get("allow-insecure-key") == Some("true") {
        tracing::warn!("allow-insecure-key is true: the setting {KEY_SETTING} may hold a key that everybody knows");
    }
}

/// Does slow work where no login waits for it. A panic there costs the candidate, and not the reloader.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    spawn_blocking(work).await.unwrap_or(Err(LoadError::Panicked))
}
