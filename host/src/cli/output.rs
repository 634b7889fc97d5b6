//! Printing: text for people, one line of JSON for scripts, always whole and on standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The answer could not be printed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct PrintError(#[from] io::Error);

/// Prints lines for a person.
pub(crate) fn text(text: impl Display) -> Result<(), PrintError> {
    write(&format!("{text}\n"))
}

/// Prints one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), PrintError> {
    write(&format!("{}\n", serde_json::to_string(value).map_err(io::Error::from)?))
}

/// That nobody reads on is no error: `head` has enough, and the exit code tells the rest.
fn write(text: &str) -> Result<(), PrintError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The year 10000, which nobody writes as a date.
const TOO_LATE: u64 = 253_402_300_800;

/// A moment, given in seconds since 1970.
pub(crate) fn moment(seconds: u64) -> String {
    if seconds >= TOO_LATE {
        return format!("{seconds} seconds after 1970");
    }
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// How long ago this was, in the two largest units; nothing if it is no time, or is still to come.
pub(crate) fn ago(rfc3339: &str) -> Option<String> {
    let then = humantime::parse_rfc3339(rfc3339).ok()?;
    let passed = SystemTime::now().duration_since(then).ok()?.as_secs();
    let text = humantime::format_duration(Duration::from_secs(passed)).to_string();
    Some(text.split(' ').take(2).collect::<Vec<_>>().join(" "))
}

/// The most characters that are shown of a text from elsewhere.
const MOST_SHOWN: usize = 1_000;

/// Text from elsewhere, so that it stays on its line and does not steer the terminal. Quotes stay as they are.
pub(crate) fn tame(text: &str) -> String {
    let is_seen = |character: char| matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1;
    text.chars().take(MOST_SHOWN).map(|character| if is_seen(character) { character } else { '\u{fffd}' }).collect()
}
