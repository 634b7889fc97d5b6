//! Reads the operator's files, and decides which of their paths may be shown.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, fstatfs};

/// Maximum size of a file that is read, in bytes: far more than any policy, key or certificate has.
const MAX_FILE_SIZE: u64 = 64 << 20;

/// File systems whose files are made by the kernel while they are read (linux/magic.h). Reading `/proc/kmsg` waits for the
/// next message of the kernel, and yet it looks like a regular file.
const KERNEL_FILE_SYSTEMS: [i64; 4] = [0x9fa0, 0x6265_6572, 0x6462_6720, 0x7472_6163];

/// Reads a regular file of at most 64 MiB.
///
/// A pipe, a device or a file of the kernel could block the reader for ever, or fill all memory.
///
/// # Errors
/// The error of the operating system, or that the file is too large or not a regular file.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for a writer.
    let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || is_of_kernel(&file) {
        return Err(io::Error::other("not a regular file"));
    }
    let too_large = || io::Error::other("larger than 64 MiB");
    if metadata.len() > MAX_FILE_SIZE {
        return Err(too_large());
    }
    let mut contents = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(MAX_FILE_SIZE + 1).read_to_end(&mut contents)?;
    // The file may have grown since its size was read.
    if contents.len() as u64 > MAX_FILE_SIZE { Err(too_large()) } else { Ok(contents) }
}

/// Whether a file was replaced or removed where it is from, so that it can never change here: a single file that is mounted
/// into a container keeps the file that was mounted, whatever takes its place outside.
#[must_use]
pub fn is_detached(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 0)
}

fn is_of_kernel(file: &File) -> bool {
    fstatfs(file).is_ok_and(|statistics| KERNEL_FILE_SYSTEMS.contains(&statistics.f_type))
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
    use std::fs;

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
    fn never_waits_for_a_pipe_or_the_kernel() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        for path in [&pipe, Path::new("/proc/kmsg"), Path::new("/proc/self/status"), Path::new("/dev/zero")] {
            assert_eq!(read_file(path).unwrap_err().to_string(), "not a regular file", "{}", path.display());
        }
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
