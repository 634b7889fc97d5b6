//! Files of the operator: reading them, and showing their paths.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// The most that is read of a file: far more than any policy, key or certificate has.
const LONGEST_FILE: u64 = 64 << 20;

/// Reads a regular file of 64 MiB at the most. Anything else, such as a pipe, could keep the reader waiting for ever, or
/// take all the memory that there is.
///
/// # Errors
/// What the system says, or that it is something else.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let too_long = || io::Error::other("longer than 64 MiB, as nothing is that belongs here");
    if about.len() > LONGEST_FILE {
        return Err(too_long());
    }
    let mut contents = Vec::with_capacity(usize::try_from(about.len()).unwrap_or_default());
    File::open(path)?.take(LONGEST_FILE + 1).read_to_end(&mut contents)?;
    // It may have grown meanwhile.
    if contents.len() as u64 > LONGEST_FILE { Err(too_long()) } else { Ok(contents) }
}

/// The path of a file, unless it does not look like one: a key in base64 can begin with `/`.
#[must_use]
pub fn shown_path(path: &Path) -> Cow<'_, str> {
    let is_path = path.parent().is_some_and(|directory| directory.parent().is_some() && directory.is_dir());
    if is_path || path.exists() { path.to_string_lossy() } else { "the file it names".into() }
}
