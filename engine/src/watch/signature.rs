//! Signature of files: tells by `stat` alone whether they may have changed, so that an idle gate reads nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Result of `stat` for each file, following symlinks.
///
/// The change time catches writes that restore the modification time. A file that was stable for 100 ms before it was read
/// cannot change later within the same tick of the file system's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature(Vec<Option<FileSignature>>);

/// Signature of one file that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileSignature {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

impl Signature {
    pub(super) fn of(files: &[PathBuf]) -> Self {
        let one = |file: &PathBuf| {
            let metadata = fs::metadata(file).ok()?;
            Some(FileSignature {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })
        };
        Self(files.iter().map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn changes_with_renames_symlinks_and_missing_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let files = [path("file"), path("link")];
        let mut seen = vec![Signature::of(&files)];
        let mut expect_change = || {
            let now = Signature::of(&files);
            assert!(!seen.contains(&now), "{now:?}");
            assert_eq!(Signature::of(&files), now);
            seen.push(now);
        };
        fs::write(path("file"), "one").unwrap();
        expect_change();
        fs::write(path("new"), "two").unwrap();
        fs::rename(path("new"), path("file")).unwrap();
        expect_change();
        fs::write(path("target"), "three").unwrap();
        symlink("target", path("link")).unwrap();
        expect_change();
        fs::write(path("target"), "longer than before").unwrap();
        expect_change();
    }
}
