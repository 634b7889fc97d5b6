//! The file that a gate watches, and the previous policy beside it.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};

use mqtt_gate_engine::util::file::read_file;

use super::error::SwapError;
use crate::cli::temp_file::{directory_of, write_beside};

/// Suffix of the previous policy: `policy.wasm.previous`.
const PREVIOUS_SUFFIX: &str = ".previous";

/// Mode of a temporary file, until it has the mode of the file that it replaces.
const PRIVATE_MODE: u32 = 0o600;

/// Mode of a file that replaces no other. A gate that runs as another user must be able to read it.
const NEW_FILE_MODE: u32 = 0o644;

/// The watched file and the previous policy, locked against other swaps.
///
/// Each is replaced in one step, and keeps the owner and the mode of the replaced file.
pub(super) struct PolicyFile {
    path: PathBuf,
    previous: PathBuf,
    /// Holds the lock. `None` if the directory cannot be opened.
    _directory: Option<File>,
}

impl PolicyFile {
    /// Locks a file, which need not exist.
    pub(super) fn lock(path: PathBuf) -> Result<Self, SwapError> {
        check_links(&path)?;
        let directory = directory_of(&path);
        let handle = File::open(directory).ok();
        // Some network file systems cannot lock a directory. There, concurrent swaps are not detected.
        if let Some(Err(TryLockError::WouldBlock)) = handle.as_ref().map(File::try_lock) {
            return Err(SwapError::InProgress(directory.to_owned()));
        }
        let mut previous = OsString::from(&path);
        previous.push(PREVIOUS_SUFFIX);
        Ok(Self { path, previous: previous.into(), _directory: handle })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the previous policy.
    pub(super) fn previous(&self) -> &Path {
        &self.previous
    }

    /// Replaces one of the two files, or deletes it if there are no contents.
    pub(super) fn set(&self, path: &Path, contents: Option<&[u8]>) -> Result<(), SwapError> {
        let replace = |source| SwapError::Replace { path: path.to_owned(), source };
        let Some(bytes) = contents else {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(replace(error)),
                _ => Ok(()),
            };
        };
        let model = fs::metadata(path).or_else(|_| fs::metadata(&self.path)).ok();
        let file = write_beside(path, bytes, PRIVATE_MODE).map_err(replace)?;
        copy_owner_and_mode(model.as_ref(), file.as_file())
            .map_err(|source| SwapError::Owner { path: path.to_owned(), source })?;
        file.as_file().sync_all().map_err(replace)?;
        file.persist(path).map_err(|error| replace(error.error))?;
        // Not an error: the file is replaced, and the gate may have loaded it. Not every directory can be synchronized.
        let _ = File::open(directory_of(path)).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

/// Reads a file. `None` if it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, SwapError> {
    match read_file(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SwapError::Read { path: path.to_owned(), source }),
    }
}

/// Rejects symlinks and mounts of Kubernetes, which others swap by changing a link.
fn check_links(file: &Path) -> Result<(), SwapError> {
    let is_symlink = fs::symlink_metadata(file).is_ok_and(|found| found.is_symlink());
    let target = fs::canonicalize(file).or_else(|_| fs::canonicalize(directory_of(file)));
    match target {
        Ok(target) if is_mounted(&target) => Err(SwapError::Mounted(file.to_owned())),
        Ok(target) if is_symlink => Err(SwapError::Symlink { file: file.to_owned(), target }),
        _ => Ok(()),
    }
}

/// Whether Kubernetes mounts this file: it links to the current version through a directory such as `..2026_11`.
fn is_mounted(target: &Path) -> bool {
    let is_version =
        |part: Component| matches!(part, Component::Normal(name) if name.as_encoded_bytes().starts_with(b".."));
    target.components().any(is_version)
}

fn copy_owner_and_mode(from: Option<&Metadata>, to: &File) -> io::Result<()> {
    let Some(from) = from else { return to.set_permissions(Permissions::from_mode(NEW_FILE_MODE)) };
    let own = to.metadata()?;
    if (own.uid(), own.gid()) != (from.uid(), from.gid()) {
        fchown(to, Some(from.uid()), Some(from.gid()))?;
    }
    to.set_permissions(from.permissions())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn both_files_keep_the_mode_of_the_watched_one() {
        let directory = TempDir::new().unwrap();
        let file = PolicyFile::lock(directory.path().join("policy.wasm")).unwrap();
        assert_eq!(read(file.path()).unwrap(), None);
        file.set(file.path(), Some(b"one")).unwrap();
        assert_eq!(mode(file.path()), NEW_FILE_MODE);
        fs::set_permissions(file.path(), Permissions::from_mode(0o640)).unwrap();
        file.set(file.path(), Some(b"two")).unwrap();
        file.set(file.previous(), Some(b"one")).unwrap();
        assert_eq!((mode(file.path()), mode(file.previous())), (0o640, 0o640));
        assert_eq!(read(file.path()).unwrap().as_deref(), Some(b"two".as_slice()));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "no temporary file is left");
        file.set(file.path(), None).unwrap();
        file.set(file.path(), None).unwrap();
        assert_eq!(read(file.path()).unwrap(), None);
    }

    #[test]
    fn a_second_swap_in_the_directory_is_rejected() {
        let directory = TempDir::new().unwrap();
        let first = PolicyFile::lock(directory.path().join("policy.wasm")).unwrap();
        let second = || PolicyFile::lock(directory.path().join("other.wasm"));
        assert!(matches!(second(), Err(SwapError::InProgress(_))));
        drop(first);
        assert!(second().is_ok());
    }

    #[test]
    fn mounted_files_are_recognized_by_their_version_directory() {
        for (target, expected) in
            [("/etc/gate/..2026_11/policy.wasm", true), ("/etc/gate/policy.wasm", false), ("/etc/.hidden/p", false)]
        {
            assert_eq!(is_mounted(Path::new(target)), expected, "{target}");
        }
    }
}
