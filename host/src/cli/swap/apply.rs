//! Putting another policy in the place of the one that serves, and seeing it serve.

use std::thread;
use std::time::{Duration, Instant};

use mqtt_gate::policy::Digest;

use super::admin::{Admin, AdminError};
use super::exit::Exit;
use super::place::{self, Place, PlaceError};
use super::state::{Serving, State};

/// How often the gate is asked how far it is.
const PAUSE: Duration = Duration::from_millis(50);

/// A gate has seen a change of its file by then, and has its opinion of it: it looks every two seconds.
const AGREEMENT: Duration = Duration::from_secs(6);

/// A change of the policy of one gate.
///
/// What serves and what lies in the file agree when it is over, if they did before: a file that the gate does not take
/// is not left there. The file before is only ever one that served.
pub(crate) struct Change<'a> {
    pub(crate) admin: &'a Admin,
    pub(crate) place: &'a Place,
    pub(crate) patience: Duration,
}

/// What came of a change, and what served before it and after it.
pub(crate) struct Changed {
    pub(crate) before: Serving,
    pub(crate) after: Serving,
    pub(crate) outcome: Outcome,
}

/// What came of a change.
pub(crate) enum Outcome {
    /// It serves. What served before was kept, if it lay there.
    Serves { kept: Option<Digest> },
    /// It did so before.
    ServedAlready,
    /// The gate says why not. Everything is where it was.
    Refused(String),
    /// It lay there already, and the gate said why not. Nothing was touched.
    RefusedAlready(String),
    /// The gate has not seen it in time. Everything is where it was.
    NotSeen,
}

/// Why nothing is known of what came of it, or nothing was tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// Another file is meant. Nothing was touched.
    #[error(
        "{url} serves sha256 {serves}, and {file} holds {holds}: it watches another file, or has not loaded this one yet; nothing was touched"
    )]
    Elsewhere { url: String, serves: String, file: String, holds: String },
    /// The gate does not say how far it is.
    #[error("{file} is again what it was: the gate stopped answering")]
    Lost { file: String, source: AdminError },
    /// Disk and gate may differ now.
    #[error("the gate has not taken it, and the file could not be put back; what served before is in {previous}")]
    NotPutBack { previous: String, source: PlaceError },
    /// Nothing was touched.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Nothing was touched.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

impl ChangeError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Lost { .. } | Self::NotPutBack { .. } => Exit::Fault,
            Self::Admin(error) => error.exit(),
            Self::Elsewhere { .. } | Self::Place(_) => Exit::Operator,
        }
    }
}

/// What lies in the place before the change.
struct Found {
    component: Option<Vec<u8>>,
    previous: Option<Vec<u8>>,
}

impl Change<'_> {
    /// Makes it, unless this component serves already.
    pub(crate) fn make(&self, component: &[u8]) -> Result<Changed, ChangeError> {
        let state = self.agreement()?;
        let found = Found { component: place::read(self.place.file())?, previous: place::read(self.place.previous())? };
        let before = state.told.policy.clone();
        let (new, there) = (Digest::of(component), found.component.as_deref().map(Digest::of));
        if before.is(new) {
            if there != Some(new) {
                self.place.put(self.place.file(), Some(component))?;
            }
            return Ok(Changed { after: before.clone(), before, outcome: Outcome::ServedAlready });
        }
        if let (Some(refusal), true) = (state.refusal_of(new), there == Some(new)) {
            let outcome = Outcome::RefusedAlready(refusal.reason.clone());
            return Ok(Changed { after: before.clone(), before, outcome });
        }
        let kept = there.filter(|there| before.is(*there));
        self.replace(component, &found, kept.is_some())?;
        let verdict = self.verdict(&state, new);
        if let Ok(Verdict::Serves(after)) = verdict {
            return Ok(Changed { before, after, outcome: Outcome::Serves { kept } });
        }
        self.put_back(&found)?;
        let outcome = match verdict? {
            Verdict::Refused(reason) => Outcome::Refused(reason),
            Verdict::None | Verdict::Serves(_) => Outcome::NotSeen,
        };
        Ok(Changed { after: before.clone(), before, outcome })
    }

    /// Waits until what the gate says fits what lies in the file: it may just have changed.
    fn agreement(&self) -> Result<State, ChangeError> {
        let began = Instant::now();
        loop {
            let state = self.admin.state()?;
            let Some(there) = place::read(self.place.file())? else { return Ok(state) };
            let there = Digest::of(&there);
            if state.told.policy.is(there) || state.refusal_of(there).is_some() {
                return Ok(state);
            }
            if began.elapsed() > AGREEMENT {
                let (url, serves) = (self.admin.url().to_owned(), state.told.policy.sha256);
                return Err(ChangeError::Elsewhere { url, serves, file: self.file(), holds: there.to_string() });
            }
            thread::sleep(PAUSE);
        }
    }

    /// Keeps what served, if it lies there, before it is replaced.
    fn replace(&self, component: &[u8], found: &Found, keep: bool) -> Result<(), PlaceError> {
        if keep {
            self.place.put(self.place.previous(), found.component.as_deref())?;
        }
        let replaced = self.place.put(self.place.file(), Some(component));
        if replaced.is_err() && keep {
            self.place.put(self.place.previous(), found.previous.as_deref())?;
        }
        replaced
    }

    /// Waits until the gate serves this component, or says why it does not.
    fn verdict(&self, before: &State, new: Digest) -> Result<Verdict, ChangeError> {
        let began = Instant::now();
        loop {
            let now = self.admin.state();
            let verdict = now.as_ref().map_or(Verdict::None, |now| Verdict::of(before, now, new));
            if !matches!(verdict, Verdict::None) {
                return Ok(verdict);
            }
            if began.elapsed() > self.patience {
                let now = now.map_err(|source| ChangeError::Lost { file: self.file(), source })?;
                // It was refused before, and a gate does not say the same thing twice.
                let earlier = now.refusal_of(new).map(|refusal| refusal.reason.clone());
                return Ok(earlier.map_or(Verdict::None, Verdict::Refused));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Puts everything where it was.
    fn put_back(&self, found: &Found) -> Result<(), ChangeError> {
        let previous = || self.place.previous().display().to_string();
        self.place
            .put(self.place.file(), found.component.as_deref())
            .and_then(|()| self.place.put(self.place.previous(), found.previous.as_deref()))
            .map_err(|source| ChangeError::NotPutBack { previous: previous(), source })
    }

    fn file(&self) -> String {
        self.place.file().display().to_string()
    }
}

/// What the gate makes of a component that lies in its file.
enum Verdict {
    Serves(Serving),
    Refused(String),
    None,
}

impl Verdict {
    /// What it says since then. A file that it cannot even read has no digest.
    fn of(before: &State, now: &State, new: Digest) -> Self {
        if now.told.policy.is(new) {
            return Self::Serves(now.told.policy.clone());
        }
        let is_later = now.told.rejected.count > before.told.rejected.count;
        match &now.told.rejected.last {
            Some(last) if is_later && (last.sha256.is_none() || last.is_of(new)) => Self::Refused(last.reason.clone()),
            _ => Self::None,
        }
    }
}
