//! Reads the operator's files, and decides which of their paths may be shown.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// Maximum size of a file that is read, in bytes: far more than any policy, key or certificate has.
const MAX_FILE_SIZE: u64 = 64 << 20;

/// Reads a regular file of at most 64 MiB.
///
/// A pipe or a device could block the reader for ever, or fill all memory.
///
/// # Errors
/// The error of the operating system, or that the file is too large or not a regular file.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let too_large = || io::Error::other("larger than 64 MiB");
    if metadata.len() > MAX_FILE_SIZE {
        return Err(too_large());
    }
    let mut contents = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    File::open(path)?.take(MAX_FILE_SIZE + 1).read_to_end(&mut contents)?;
    // The file may have grown since its size was read.
    if contents.len() as u64 > MAX_FILE_SIZE { Err(too_large()) } else { Ok(contents) }
}

/// Returns the path as text if it looks like a path, otherwise a placeholder.
///
/// An operator may have put a key where a path belongs, and a key in base64 can begin with `/`.
#[must_use]
pub fn displayable_path(path: &Path) -> Cow<'_, str> {
    let is_in_a_directory = path.parent().is_some_and(|parent| parent.parent().is_some() && parent.is_dir());
    if is_in_a_directory || path.exists() { path.to_string_lossy() } else { "the configured file".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_directories_and_large_files() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read_file(directory.path()).unwrap_err().to_string(), "not a regular file");
        let path = directory.path().join("file");
        File::create(&path).unwrap().set_len(MAX_FILE_SIZE + 1).unwrap();
        assert_eq!(read_file(&path).unwrap_err().to_string(), "larger than 64 MiB");
        fs::write(&path, "contents").unwrap();
        assert_eq!(read_file(&path).unwrap(), b"contents");
    }

    #[test]
    fn shows_paths_but_not_keys() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        assert_eq!(displayable_path(&missing), missing.to_string_lossy());
        for key in ["/9j4AAQSkZJRgABAQEASABIAAD", "s3cret/s3cret", "s3cret"] {
            assert_eq!(displayable_path(Path::new(key)), "the configured file");
        }
    }
}
