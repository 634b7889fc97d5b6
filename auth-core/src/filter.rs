//! MQTT topic filters (MQTT 5.0, section 4.7): what one is, and which of two reaches further.

/// The filter within a shared subscription (MQTT 5.0, section 4.8.2), and any other filter as it is. `None` for a shared
/// subscription that is malformed.
pub(crate) fn unshared(filter: &str) -> Option<&str> {
    let Some(shared) = filter.strip_prefix("$share/") else { return Some(filter) };
    let (group, filter) = shared.split_once('/')?;
    (!group.is_empty() && !group.contains(['+', '#'])).then_some(filter)
}

/// Whether everything that `wanted` matches is matched by `granted` (MQTT 5.0, section 4.7). Both are topic filters; a
/// topic name is a filter that matches itself.
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
            ("+", Some(other)) if other != "#" => {}
            (literal, Some(other)) if literal == other && other != "#" => {}
            _ => return false,
        }
    }
    wanted.next().is_none()
}

/// Whether this is a topic filter (MQTT 5.0, section 4.7), and no brace is left over from a template.
pub(crate) fn is_filter(text: &str) -> bool {
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        let wildcard = level.contains(['+', '#']);
        if wildcard && level.len() > 1 || level == "#" && levels.peek().is_some() {
            return false;
        }
    }
    !text.is_empty() && text.len() <= 65_535 && !text.contains(['\0', '{', '}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By every name over a small alphabet: no name that a covered filter matches is missed by the filter that covers.
    #[test]
    fn covering_filter_matches_every_name_of_the_covered_filter() {
        let levels = ["a", "b", "+", "#", "", "$a"];
        let of_three = |level: &[&str]| {
            let mut texts: Vec<String> = level.iter().map(|&one| one.to_owned()).collect();
            for length in 1..3 {
                let longer = texts.iter().filter(|text| text.split('/').count() == length);
                let longer: Vec<_> = longer.flat_map(|text| level.iter().map(move |l| format!("{text}/{l}"))).collect();
                texts.extend(longer);
            }
            texts
        };
        let filters: Vec<String> = of_three(&levels).into_iter().filter(|text| is_filter(text)).collect();
        let names: Vec<&String> = filters.iter().filter(|text| !text.contains(['+', '#'])).collect();
        let mut covered = 0;
        for granted in &filters {
            for wanted in filters.iter().filter(|wanted| covers(granted, wanted)) {
                covered += 1;
                for name in names.iter().filter(|name| covers(wanted, name)) {
                    assert!(covers(granted, name), "{granted} covers {wanted} and misses {name}");
                }
            }
        }
        assert!(covered > filters.len());
    }
}
