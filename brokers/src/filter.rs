//! MQTT topic filters (MQTT 5.0, section 4.7).
//!
//! `auth-core` has a copy of these rules, because a policy depends on nothing but `wit/`.

/// The longest filter in bytes: MQTT writes the length of a string in two bytes.
const MAX_FILTER: usize = 65_535;

/// Whether this is a topic filter.
pub(crate) fn is_filter(text: &str) -> bool {
    let is_plain = |level: &str| level == "+" || !level.contains(['+', '#']);
    let mut levels = text.split('/').rev();
    let last = levels.next().unwrap_or_default();
    !text.is_empty()
        && text.len() <= MAX_FILTER
        && !text.contains('\0')
        && (last == "#" || is_plain(last))
        && levels.all(is_plain)
}

/// Whether `granted` matches every topic that `wanted` matches. Both are topic filters.
///
/// A wildcard at the beginning does not match topics that begin with `$`, and `a/#` matches `a` as well.
pub(crate) fn covers(granted: &str, wanted: &str) -> bool {
    if wanted.starts_with('$') && granted.starts_with(['+', '#']) {
        return false;
    }
    let mut wanted = wanted.split('/');
    for level in granted.split('/') {
        match (level, wanted.next()) {
            ("#", _) => return true,
            (level, Some(other)) if other != "#" && (level == "+" || level == other) => {}
            _ => return false,
        }
    }
    wanted.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_alone_in_a_level_and_hash_is_last() {
        for filter in ["a", "/", "+", "#", "a/+/b", "+/+/#", "a/#", "$SYS/#", " ", "ä/${x}"] {
            assert!(is_filter(filter), "{filter}");
        }
        for text in ["", "a+", "a#", "#/a", "a/#/b", "++", "a/\0"] {
            assert!(!is_filter(text), "{text}");
        }
        assert!(is_filter(&"x".repeat(MAX_FILTER)) && !is_filter(&"x".repeat(MAX_FILTER + 1)));
    }

    #[test]
    fn filter_covers_what_it_matches_and_no_more() {
        for (granted, wanted) in
            [("#", "a/#"), ("#", "#"), ("a/#", "a/b/#"), ("a/#", "a"), ("+/b", "a/b"), ("a/+/#", "a/b/c"), ("a", "a")]
        {
            assert!(covers(granted, wanted), "{granted} covers {wanted}");
        }
        for (granted, wanted) in
            [("a/+", "a/#"), ("+", "#"), ("#", "$SYS/#"), ("+/a", "$SYS/a"), ("a", "a/b"), ("a/b", "a"), ("a/+/#", "a")]
        {
            assert!(!covers(granted, wanted), "{granted} does not cover {wanted}");
        }
    }
}
