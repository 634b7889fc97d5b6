//! Text from elsewhere, made fit for one line of a log.

use std::cmp::Reverse;
use std::error::Error;
use std::fmt::Write;

/// The most characters of an error that are shown.
const MOST_SHOWN: usize = 1_000;

/// An error with its causes, on one line, each said once, with nothing in it that could steer a terminal.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
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
    line.chars().take(MOST_SHOWN).flat_map(visible).collect()
}

/// A character as it is, or escaped if it could not be seen. Quotes are told from each other well enough in a message.
fn visible(character: char) -> impl Iterator<Item = char> {
    let quote = matches!(character, '"' | '\'' | '\\');
    quote.then_some(character).into_iter().chain((!quote).then(|| character.escape_debug()).into_iter().flatten())
}

/// Secrets shorter than this are not looked for: `true` is a setting too.
const SHORTEST_SECRET: usize = 8;

/// Text with every secret in it blanked out: a policy may repeat in an error what it was told.
#[must_use]
pub fn without<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut told: Vec<&str> = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST_SECRET).collect();
    // The longest first: one may be a part of another.
    told.sort_unstable_by_key(|secret| Reverse(secret.len()));
    told.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, "(not shown)"))
}

/// Text that a client or a policy chose: escaped, so that it cannot start a line or steer a terminal, and cut.
#[must_use]
pub fn escaped(text: &str, most: usize) -> String {
    let mut cut: String = text.chars().take(most).flat_map(char::escape_debug).collect();
    if text.chars().nth(most).is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_chose_stays_on_its_line() {
        assert_eq!(escaped("a\nb\u{1b}[31m\u{202e}", 64), "a\\nb\\u{1b}[31m\\u{202e}");
        assert_eq!(escaped("abcdef", 3), "abc…");
        assert_eq!(escaped("abc", 3), "abc");
    }

    #[test]
    fn a_secret_is_blanked_out_wherever_it_stands() {
        let secrets = ["a secret", "the first a secret", "the second one", "true", ""];
        let text = "true: the first a secret, the second one, a secret";
        assert_eq!(without(text, secrets), "true: (not shown), (not shown), (not shown)");
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = std::io::Error::other("line one\n  line two");
        let error = std::io::Error::other(cause);
        assert_eq!(chain(&error), "line one line two");
    }
}
