//! Standard output: text for people, one line of JSON for scripts.

use std::fmt::{self, Display};
use std::io::{self, ErrorKind, Write};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Error;
use mqtt_gate::status_response::PolicyStatus;
use serde::Serialize;

use super::error::CliError;

/// Prints a report as one line of JSON or as text.
pub(crate) fn print(report: &(impl Serialize + Display), as_json: bool) -> Result<(), CliError> {
    if as_json { print_json(report) } else { print_text(report) }
}

/// Prints text and a line ending.
pub(crate) fn print_text(text: impl Display) -> Result<(), CliError> {
    write(&format!("{text}\n")).map_err(cannot_write)
}

/// Prints one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string(value).map_err(|error| cannot_write(error.into()))?;
    print_text(json)
}

/// A broken pipe is not an error (`| head`): the exit code still tells the result.
fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn cannot_write(error: io::Error) -> CliError {
    CliError::Software(Error::new(error).context("cannot write to standard output"))
}

/// Rows of a label and a text, in two columns.
///
/// A text stays on its row and cannot steer the terminal, whatever a policy or a gate put into it.
pub(crate) struct Rows {
    label_width: usize,
    rows: Vec<(&'static str, String)>,
}

impl Rows {
    pub(crate) fn new(label_width: usize) -> Self {
        Self { label_width, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, label: &'static str, text: impl Display) {
        self.rows.push((label, replace_invisible(&text.to_string())));
    }

    /// Adds a row for each text. Only the first has the label.
    pub(crate) fn add_all(&mut self, label: &'static str, texts: impl IntoIterator<Item = impl Display>) {
        for (index, text) in texts.into_iter().enumerate() {
            self.add(if index == 0 { label } else { "" }, text);
        }
    }
}

impl Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let width = self.label_width;
        let lines: Vec<_> = self.rows.iter().map(|(label, text)| format!("{label:width$}  {text}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Replaces control characters and other invisible ones by U+FFFD. Quotes stay as they are.
fn replace_invisible(text: &str) -> String {
    let is_visible = |c: char| matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1;
    text.chars().map(|c| if is_visible(c) { c } else { '\u{fffd}' }).collect()
}

/// Formats the identity of a policy: name, digest and generation.
pub(crate) fn format_policy(policy: &PolicyStatus) -> String {
    let PolicyStatus { name, sha256, generation, .. } = policy;
    format!("{name}, sha256 {sha256}, generation {generation}")
}

/// The first second of the year 10000, which RFC 3339 cannot express.
const YEAR_10000: u64 = 253_402_300_800;

/// Formats seconds since 1970 as RFC 3339.
pub(crate) fn format_unix(seconds: u64) -> String {
    if seconds >= YEAR_10000 {
        return format!("{seconds} seconds after 1970");
    }
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// Formats the time between two RFC 3339 times in its two largest units, such as `2h 5m`.
///
/// `None` if either is not a time, or `now` is the earlier one.
pub(crate) fn format_age(since: &str, now: &str) -> Option<String> {
    let since = humantime::parse_rfc3339(since).ok()?;
    let now = humantime::parse_rfc3339(now).ok()?;
    let age = now.duration_since(since).ok()?;
    let text = humantime::format_duration(Duration::from_secs(age.as_secs())).to_string();
    Some(text.split(' ').take(2).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_align_and_keep_text_on_its_row() {
        let mut rows = Rows::new(6);
        rows.add("policy", "a\nb\u{1b}[31m \"quoted\"");
        rows.add_all("topics", ["one", "two"]);
        assert_eq!(rows.to_string(), "policy  a\u{fffd}b\u{fffd}[31m \"quoted\"\ntopics  one\n        two");
    }

    #[test]
    fn times_are_formatted_as_rfc_3339() {
        assert_eq!(format_unix(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_unix(YEAR_10000 - 1), "9999-12-31T23:59:59Z");
        assert_eq!(format_unix(YEAR_10000), "253402300800 seconds after 1970");
    }

    #[test]
    fn ages_have_at_most_two_units() {
        let since = "2026-11-22T10:00:00Z";
        for (now, age) in [
            ("2026-11-22T10:00:06Z", Some("6s")),
            ("2026-11-22T10:00:00Z", Some("0s")),
            ("2026-11-23T12:30:01Z", Some("1day 2h")),
            ("2026-11-22T09:59:59Z", None),
            ("", None),
        ] {
            assert_eq!(format_age(since, now).as_deref(), age, "{now}");
        }
        assert_eq!(format_age("", since), None);
    }
}
