//! Makes text from outside fit for one line of a log: escaped, truncated, without secrets.

use std::cmp::Reverse;
use std::error::Error;
use std::fmt::Write;

/// Maximum number of characters of an error.
const MAX_ERROR_CHARS: usize = 1_000;

/// Secrets shorter than this, in bytes, are not redacted: `true` is a setting too.
const MIN_SECRET_LEN: usize = 8;

/// Formats an error and its causes on one line, each text once, without control characters.
#[must_use]
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !line.contains(&text) {
            let separator = if line.is_empty() { "" } else { ": " };
            let _ = write!(line, "{separator}{}", text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        next = error.source();
    }
    line.chars().take(MAX_ERROR_CHARS).flat_map(escape_unprintable).collect()
}

/// Escapes a character that cannot be seen. Quotes stay as they are, because messages contain them.
fn escape_unprintable(character: char) -> impl Iterator<Item = char> {
    let is_quote = matches!(character, '"' | '\'' | '\\');
    let escaped = (!is_quote).then(|| character.escape_debug());
    is_quote.then_some(character).into_iter().chain(escaped.into_iter().flatten())
}

/// Replaces every secret in a text: a policy may repeat in an error what it was given.
#[must_use]
pub fn redact<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut secrets: Vec<&str> = secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET_LEN).collect();
    // The longest first: one secret may be a part of another.
    secrets.sort_unstable_by_key(|secret| Reverse(secret.len()));
    secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, "(redacted)"))
}

/// Escapes and truncates text that a client or a policy chose, so that it can neither start a line nor steer a terminal.
/// Apostrophes stay as they are: they are part of words.
#[must_use]
pub fn escape(text: &str, max_chars: usize) -> String {
    let escape = |character: char| {
        let escaped = (character != '\'').then(|| character.escape_debug());
        (character == '\'').then_some(character).into_iter().chain(escaped.into_iter().flatten())
    };
    let mut escaped: String = text.chars().take(max_chars).flat_map(escape).collect();
    if text.chars().nth(max_chars).is_some() {
        escaped.push('…');
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_truncates_text() {
        assert_eq!(escape("the client's \"id\"\n", 99), "the client's \\\"id\\\"\\n");
        assert_eq!(escape("a\nb\u{1b}[31m\u{202e}", 64), "a\\nb\\u{1b}[31m\\u{202e}");
        assert_eq!(escape("abcdef", 3), "abc…");
        assert_eq!(escape("abc", 3), "abc");
    }

    #[test]
    fn redacts_secrets_also_when_one_contains_another() {
        let secrets = ["a secret", "the first a secret", "the second one", "true", ""];
        let text = "true: the first a secret, the second one, a secret";
        assert_eq!(redact(text, secrets), "true: (redacted), (redacted), (redacted)");
    }

    #[test]
    fn prints_each_cause_once_and_on_one_line() {
        let cause = std::io::Error::other("line one\n  line two");
        let error = std::io::Error::other(cause);
        assert_eq!(error_chain(&error), "line one line two");
    }
}
