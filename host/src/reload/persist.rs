//! Has the policy that serves kept on disk, where nobody waits for it.

use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use crate::reload::source::Candidate;
use crate::reload::last_known_good::LastGood;

/// What could not be kept is tried again after this time: there may be room for it then.
const PAUSE: Duration = Duration::from_secs(2);

/// Keeps one policy after another, the latest of them in the end.
pub(crate) struct Keeper {
    last_good: LastGood,
    /// What serves and is yet to be kept.
    to_keep: Option<Candidate>,
    /// Not before this.
    at: Instant,
    /// Gives back what could not be kept.
    keeping: Option<JoinHandle<Option<Candidate>>>,
}

impl Keeper {
    pub(crate) fn new(last_good: LastGood, to_keep: Option<Candidate>) -> Self {
        Self { last_good, to_keep, at: Instant::now(), keeping: None }
    }

    /// This serves now, and what served before need not be kept any more.
    pub(crate) fn keep(&mut self, candidate: Candidate) {
        self.to_keep = Some(candidate);
    }

    /// Begins what there is to do. What waits for its time, or for what is being kept still, is left to the next call: a
    /// disk that does not answer holds up no swap.
    pub(crate) async fn go_on(&mut self) {
        if self.keeping.as_ref().is_some_and(|keeping| !keeping.is_finished()) {
            return;
        }
        if let Some(keeping) = self.keeping.take() {
            let unkept = keeping.await.ok().flatten();
            if unkept.is_some() {
                self.at = Instant::now() + PAUSE;
            }
            self.to_keep = self.to_keep.take().or(unkept);
        }
        if self.at > Instant::now() {
            return;
        }
        if let Some(candidate) = self.to_keep.take() {
            let last_good = self.last_good.clone();
            self.keeping = Some(spawn_blocking(move || last_good.keep(candidate)));
        }
    }
}
