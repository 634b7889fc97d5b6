//! The file that a gate watches, and beside it the one that was there before.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};

use mqtt_gate::settings::read_file;
use tempfile::NamedTempFile;

/// What a file is called that was replaced: `policy.wasm.previous`.
const PREVIOUS: &str = ".previous";

/// What a new file may be, where there was none: read by everybody, written by its owner.
const ORDINARY: u32 = 0o644;

/// The watched file, for as long as nobody else swaps.
///
/// A file is only ever exchanged whole, in one step, and has the permissions and the owner of the one that was there.
pub(crate) struct Place {
    file: PathBuf,
    previous: PathBuf,
    _directory: Option<File>,
}

/// Why a file is not exchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// Somebody else exchanges links.
    #[error(
        "{} is a symlink to {}: a swap is an exchange of that link, or give --policy {}, to replace the file itself",
        file.display(), target.display(), target.display()
    )]
    Link { file: PathBuf, target: PathBuf },
    /// Kubernetes exchanges what it mounts, and would undo this.
    #[error("{} is mounted from a ConfigMap or a Secret: change that, and the gate swaps when the mount follows", .0.display())]
    Mounted(PathBuf),
    /// Two at once would take each other's file for the one before.
    #[error("another swap is under way in {}", .0.display())]
    Busy(PathBuf),
    /// The file cannot be had.
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file cannot be exchanged.
    #[error("cannot replace {}", path.display())]
    Replace { path: PathBuf, source: io::Error },
    /// The gate could no longer read it.
    #[error("cannot replace {}: the new file would not belong to its owner; do this as root or as that owner", path.display())]
    Owner { path: PathBuf, source: io::Error },
}

impl Place {
    /// Takes hold of the place of this file, which need not be there.
    pub(crate) fn hold(file: PathBuf) -> Result<Self, PlaceError> {
        refuse_links(&file)?;
        let directory = directory(&file);
        // Where directories cannot be locked, as on some network file systems, nobody is kept out.
        let held = File::open(directory).ok();
        if let Some(Err(TryLockError::WouldBlock)) = held.as_ref().map(File::try_lock) {
            return Err(PlaceError::Busy(directory.to_owned()));
        }
        let mut previous = OsString::from(&file);
        previous.push(PREVIOUS);
        Ok(Self { file, previous: previous.into(), _directory: held })
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn previous(&self) -> &Path {
        &self.previous
    }

    /// Puts these bytes there, or nothing.
    pub(crate) fn put(&self, path: &Path, bytes: Option<&[u8]>) -> Result<(), PlaceError> {
        let Some(bytes) = bytes else {
            return match fs::remove_file(path) {
                Err(source) if source.kind() != ErrorKind::NotFound => Err(replace(path)(source)),
                _ => Ok(()),
            };
        };
        let like = fs::metadata(path).or_else(|_| fs::metadata(&self.file)).ok();
        let unfinished = write_beside(path, bytes).map_err(replace(path))?;
        let owner = |source| PlaceError::Owner { path: path.to_owned(), source };
        make_like(unfinished.as_file(), like.as_ref()).map_err(owner)?;
        unfinished.as_file().sync_all().map_err(replace(path))?;
        unfinished.persist(path).map_err(|failed| replace(path)(failed.error))?;
        // It is in its place, and the gate may have seen it. Not every directory can be opened, or written through.
        let _ = File::open(directory(path)).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

/// What is there; `None` if nothing is.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, PlaceError> {
    match read_file(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PlaceError::Read { path: path.to_owned(), source }),
    }
}

/// Whoever made a link means to exchange it. Replacing it would end that, and replacing what it points to would change a
/// file that is called after a release. On a mount of Kubernetes' both would be undone.
fn refuse_links(file: &Path) -> Result<(), PlaceError> {
    let is_link = fs::symlink_metadata(file).is_ok_and(|found| found.is_symlink());
    let target = fs::canonicalize(file).or_else(|_| fs::canonicalize(directory(file)));
    let is_hidden =
        |part: Component| matches!(part, Component::Normal(name) if name.as_encoded_bytes().starts_with(b".."));
    match target {
        Ok(target) if target.components().any(is_hidden) => Err(PlaceError::Mounted(file.to_owned())),
        Ok(target) if is_link => Err(PlaceError::Link { file: file.to_owned(), target }),
        _ => Ok(()),
    }
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut unfinished = tempfile::Builder::new().prefix(".mqtt-gate-").tempfile_in(directory(path))?;
    unfinished.write_all(bytes)?;
    Ok(unfinished)
}

/// Gives a file the permissions and the owner of another one.
fn make_like(file: &File, like: Option<&Metadata>) -> io::Result<()> {
    let Some(like) = like else { return file.set_permissions(Permissions::from_mode(ORDINARY)) };
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(like.permissions())
}

fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn replace(path: &Path) -> impl FnOnce(io::Error) -> PlaceError {
    let path = path.to_owned();
    move |source| PlaceError::Replace { path, source }
}
