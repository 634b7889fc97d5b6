//! The last known good policy, kept on disk for a start that finds the policy file broken.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use super::event::{Observer, PolicyEvent};
use super::source::{Candidate, PolicySource};
use super::state_lock::{StateInUse, StateLock, StateLockError};
use crate::policy::{Digest, LoadError, Policy, Sandbox};
use crate::util::file::read_file;
use crate::util::sanitize;

/// A kept component is named by this prefix, its digest, the tag of its owner and [`SUFFIX`].
const PREFIX: &str = "policy-";
const SUFFIX: &str = ".wasm";

/// Length of a digest in hexadecimal.
const DIGEST_LEN: usize = 64;

/// Length of the tag of an owner: enough to tell the gates of one operator apart.
const TAG_LEN: usize = 16;

/// The directory of the last known good policy.
///
/// It holds components only: no setting, no key. A kept component is used at startup only, only if the policy file is at
/// fault, only if its digest fits its name, only by the gate that kept it, and only with the current settings.
#[derive(Debug)]
pub struct LastKnownGood {
    directory: PathBuf,
    owner: StateOwner,
    /// Absent: the directory cannot be written. It is tried again with each write.
    lock: Option<StateLock>,
}

/// The gate that a kept policy belongs to: its policy file, and an id if several gates have the same path.
#[derive(Clone, Debug)]
pub struct StateOwner {
    policy_file: PathBuf,
    gate_id: String,
}

impl StateOwner {
    /// A gate by the path of its policy file and its id, which may be empty.
    #[must_use]
    pub fn new(policy_file: &Path, gate_id: &str) -> Self {
        let policy_file = std::path::absolute(policy_file).unwrap_or_else(|_| policy_file.to_owned());
        Self { policy_file, gate_id: gate_id.to_owned() }
    }

    /// Text that tells owners apart in the names of files.
    fn tag(&self) -> String {
        // No path contains the separator.
        let parts = [self.policy_file.as_os_str().as_encoded_bytes(), b"\0", self.gate_id.as_bytes()];
        Digest::of(&parts.concat()).to_string().chars().take(TAG_LEN).collect()
    }
}

impl fmt::Display for StateOwner {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "process {} with policy file {}", process::id(), self.policy_file.display())?;
        if self.gate_id.is_empty() { Ok(()) } else { write!(f, " and gate id {}", self.gate_id) }
    }
}

impl LastKnownGood {
    /// Locks this directory for its owner, and keeps policies there. It is created if it is missing.
    ///
    /// Waits up to `max_wait` for another gate to stop. A directory that cannot be locked is locked when the first policy
    /// is written.
    ///
    /// # Errors
    /// Another gate uses the directory.
    pub fn open(
        directory: PathBuf,
        owner: StateOwner,
        max_wait: Duration,
        observer: &Observer,
    ) -> Result<Self, StateInUse> {
        let on_wait = |owner: &str| observer(&PolicyEvent::StateInUse { directory: &directory, owner });
        let lock = match StateLock::acquire(&directory, &owner.to_string(), max_wait, on_wait) {
            Ok(lock) => Some(lock),
            Err(StateLockError::InUse(error)) => return Err(error),
            Err(StateLockError::Io(_)) => None,
        };
        Ok(Self { directory, owner, lock })
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Loads the newest kept policy that works, if the component is at fault for `error`.
    pub(super) fn load_fallback(
        &self,
        source: &PolicySource,
        sandbox: &Arc<Sandbox>,
        error: &LoadError,
        observer: &Observer,
    ) -> Option<(Candidate, Policy)> {
        if !error.is_of_component() {
            return None;
        }
        let (candidate, policy) = list(&self.directory)
            .into_iter()
            .filter(|path| self.is_own(path, observer))
            .find_map(|path| load(&path, source, sandbox, observer))?;
        let (directory, reason) = (self.directory.as_path(), sanitize::error_chain(error));
        observer(&PolicyEvent::FallbackUsed { digest: policy.digest(), directory, reason: &reason });
        Some((candidate, policy))
    }

    /// Whether a kept component is of this gate. Another gate may have had the directory before.
    fn is_own(&self, path: &Path, observer: &Observer) -> bool {
        let is_own = parse_name(path).is_some_and(|(_, tag)| tag == self.owner.tag());
        if !is_own {
            let reason = "it was kept for another policy file or state.gate_id";
            observer(&PolicyEvent::FallbackRejected { path, reason });
        }
        is_own
    }

    /// Writes a component under its digest, in one step, and removes the ones before.
    pub(super) fn write(&mut self, candidate: &Candidate) -> io::Result<()> {
        let (directory, component) = (&self.directory, candidate.component());
        if self.lock.as_ref().is_none_or(|lock| !lock.is_of(directory)) {
            let lock = StateLock::acquire(directory, &self.owner.to_string(), Duration::ZERO, |_| {});
            self.lock = Some(lock.map_err(|error| match error {
                StateLockError::InUse(error) => io::Error::other(error),
                StateLockError::Io(error) => error,
            })?);
        }
        let path = directory.join(format!("{PREFIX}{}-{}{SUFFIX}", candidate.digest(), self.owner.tag()));
        if !read_file(&path).is_ok_and(|kept| kept == component) {
            // A new name, so that no other file is overwritten.
            let mut unfinished = tempfile::Builder::new().prefix(".policy-").tempfile_in(directory)?;
            unfinished.write_all(component)?;
            unfinished.as_file().sync_all()?;
            unfinished.persist(&path)?;
            File::open(directory)?.sync_all()?;
        }
        list(directory).into_iter().filter(|other| *other != path).try_for_each(fs::remove_file)
    }
}

/// Lists the kept components, the newest first.
fn list(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut kept: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| parse_name(&entry.path()).is_some())
        .map(|entry| (entry.metadata().and_then(|metadata| metadata.modified()).ok(), entry.path()))
        .collect();
    kept.sort_unstable();
    kept.into_iter().rev().map(|(_, path)| path).collect()
}

/// Returns the digest and the tag of the owner in the name of a kept component. The tag is empty in a name of an earlier
/// version. Files with other names are not ours, and are left alone.
fn parse_name(path: &Path) -> Option<(&str, &str)> {
    let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (digest, tag) = name.split_once('-').unwrap_or((name, ""));
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_tag = matches!(tag.len(), 0 | TAG_LEN) && is_hex(tag);
    (digest.len() == DIGEST_LEN && is_hex(digest) && is_tag).then_some((digest, tag))
}

/// Loads a kept component if its digest fits its name and it works with the current settings.
fn load(
    path: &Path,
    source: &PolicySource,
    sandbox: &Arc<Sandbox>,
    observer: &Observer,
) -> Option<(Candidate, Policy)> {
    let component = read_file(path).ok()?;
    if parse_name(path).is_none_or(|(digest, _)| digest != Digest::of(&component).to_string()) {
        observer(&PolicyEvent::FallbackRejected { path, reason: "its contents do not match the digest in its name" });
        return None;
    }
    let loaded = source.with_component(component).and_then(|candidate| Ok((candidate.load(sandbox)?, candidate)));
    match loaded {
        Ok((policy, candidate)) => Some((candidate, policy)),
        Err(error) => {
            observer(&PolicyEvent::FallbackRejected { path, reason: &sanitize::error_chain(&error) });
            None
        }
    }
}
