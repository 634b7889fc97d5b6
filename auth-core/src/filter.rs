//! MQTT topic filters (MQTT 5.0, section 4.7): validation, and comparison of two filters.

/// Returns the filter within a shared subscription (MQTT 5.0, section 4.8.2), and any other filter unchanged. `None` if
/// the shared subscription is malformed.
pub(crate) fn unshared(filter: &str) -> Option<&str> {
    let Some(shared) = filter.strip_prefix("$share/") else { return Some(filter) };
    let (group, filter) = shared.split_once('/')?;
    (!group.is_empty() && !group.contains(['+', '#'])).then_some(filter)
}

/// Whether `granted` matches every topic that `requested` matches. Both are topic filters; a topic name is a filter
/// that matches itself.
///
/// A leading wildcard does not match topics that begin with `$`, and `a/#` also matches `a`.
pub(crate) fn covers(granted: &str, requested: &str) -> bool {
    if requested.starts_with('$') && granted.starts_with(['+', '#']) {
        return false;
    }
    let mut requested = requested.split('/');
    for level in granted.split('/') {
        match (level, requested.next()) {
            ("#", _) => return true,
            ("+", Some(other)) if other != "#" => {}
            (literal, Some(other)) if literal == other && other != "#" => {}
            _ => return false,
        }
    }
    requested.next().is_none()
}

/// Whether `text` is a valid topic filter without braces. A brace would be a leftover of a template.
pub(crate) fn is_filter(text: &str) -> bool {
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        let has_wildcard = level.contains(['+', '#']);
        if has_wildcard && level.len() > 1 || level == "#" && levels.peek().is_some() {
            return false;
        }
    }
    !text.is_empty() && text.len() <= 65_535 && !text.contains(['\0', '{', '}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exhaustive over filters of up to three levels: if `a` covers `b`, `a` matches every name that `b` matches.
    #[test]
    fn covering_filter_matches_every_name_of_the_covered_filter() {
        let levels = ["a", "b", "+", "#", "", "$a"];
        let up_to_three_levels = |levels: &[&str]| {
            let mut texts: Vec<String> = levels.iter().map(|&level| level.to_owned()).collect();
            for length in 1..3 {
                let longer = texts.iter().filter(|text| text.split('/').count() == length);
                let longer: Vec<_> =
                    longer.flat_map(|text| levels.iter().map(move |level| format!("{text}/{level}"))).collect();
                texts.extend(longer);
            }
            texts
        };
        let filters: Vec<String> = up_to_three_levels(&levels).into_iter().filter(|text| is_filter(text)).collect();
        let names: Vec<&String> = filters.iter().filter(|text| !text.contains(['+', '#'])).collect();
        let mut covered = 0;
        for granted in &filters {
            for requested in filters.iter().filter(|requested| covers(granted, requested)) {
                covered += 1;
                for name in names.iter().filter(|name| covers(requested, name)) {
                    assert!(covers(granted, name), "{granted} covers {requested} and misses {name}");
                }
            }
        }
        assert!(covered > filters.len());
    }
}
