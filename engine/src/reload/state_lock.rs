//! Lock of the state directory: one gate at a time uses it.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::util::sanitize;

/// Name of the file that is locked. It holds the name of its owner, and stays when the gate stops.
const NAME: &str = "lock";

/// How often a lock that another gate holds is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Maximum length of an owner's name.
const MAX_OWNER_CHARS: usize = 300;

/// A locked state directory. The kernel releases the lock when this is dropped, or when the process ends in any way.
#[derive(Debug)]
pub(super) struct StateLock {
    file: File,
}

/// Another gate uses the state directory.
#[derive(Debug, thiserror::Error)]
#[error(
    "the state directory {} is in use by {owner}; give each gate a directory of its own in state.directory",
    directory.display()
)]
pub struct StateInUse {
    /// The directory.
    pub directory: PathBuf,
    /// The process and the policy file of the other gate.
    pub owner: String,
}

/// Why a lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateLockError {
    #[error(transparent)]
    InUse(#[from] StateInUse),
    #[error("cannot lock the state directory")]
    Io(#[from] io::Error),
}

impl StateLock {
    /// Locks a directory, which is created if it is missing, and writes the name of its owner there.
    ///
    /// Waits up to `max_wait` for another gate to stop, and calls `on_wait` with its name first.
    pub(super) fn acquire(
        directory: &Path,
        owner: &str,
        max_wait: Duration,
        on_wait: impl FnOnce(&str),
    ) -> Result<Self, StateLockError> {
        fs::create_dir_all(directory)?;
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(directory.join(NAME))?;
        let started = Instant::now();
        let mut on_wait = Some(on_wait);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) => {}
            }
            let owner = read_owner(&mut file).unwrap_or_else(|| "another process".to_owned());
            if started.elapsed() >= max_wait {
                return Err(StateInUse { directory: directory.to_owned(), owner }.into());
            }
            if let Some(on_wait) = on_wait.take() {
                on_wait(&owner);
            }
            thread::sleep(RETRY_INTERVAL);
        }
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(owner.as_bytes())?;
        Ok(Self { file })
    }

    /// Whether this locks the directory that is there now. An operator may have removed it.
    pub(super) fn is_of(&self, directory: &Path) -> bool {
        let id = |metadata: io::Result<Metadata>| metadata.ok().map(|it| (it.dev(), it.ino()));
        let there = id(fs::metadata(directory.join(NAME)));
        there.is_some() && there == id(self.file.metadata())
    }
}

/// The name in a lock file. `None`: its owner has not written it yet.
fn read_owner(file: &mut File) -> Option<String> {
    file.rewind().ok()?;
    let mut owner = Vec::new();
    file.take(1024).read_to_end(&mut owner).ok()?;
    let owner = sanitize::escape(String::from_utf8_lossy(&owner).trim(), MAX_OWNER_CHARS);
    (!owner.is_empty()).then_some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(directory: &Path, owner: &str) -> Result<StateLock, StateLockError> {
        StateLock::acquire(directory, owner, Duration::ZERO, |_| {})
    }

    #[test]
    fn a_second_owner_is_told_the_name_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let first = acquire(&state, "the first, with a long name").unwrap();
        let error = acquire(&state, "the second").unwrap_err().to_string();
        assert!(error.contains("in use by the first, with a long name;"), "{error}");
        drop(first);
        let second = acquire(&state, "the second").unwrap();
        assert_eq!(fs::read_to_string(state.join(NAME)).unwrap(), "the second");
        drop(second);
    }

    #[test]
    fn a_lock_of_a_removed_directory_is_not_one_of_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let lock = acquire(&state, "the first").unwrap();
        assert!(lock.is_of(&state));
        fs::remove_dir_all(&state).unwrap();
        assert!(!lock.is_of(&state));
        let next = acquire(&state, "the first").unwrap();
        assert!(next.is_of(&state) && !lock.is_of(&state));
    }

    #[test]
    fn a_gate_that_stops_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = Some(acquire(directory.path(), "the first").unwrap());
        let on_wait = |owner: &str| {
            assert_eq!(owner, "the first");
            first = None;
        };
        StateLock::acquire(directory.path(), "the second", Duration::from_secs(60), on_wait).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_another_failure() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(acquire(&file, "the first").unwrap_err(), StateLockError::Io(_)));
    }
}
