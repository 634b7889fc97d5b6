//! The rules that limit a client to the topics of its grant in EMQX.
//!
//! `auth-core` has a copy of the filter checks, because a policy depends on nothing but `wit/`. It rejects such filters
//! when it reads its settings.

use std::borrow::Cow;

use serde::Serialize;

use crate::filter::{covers, is_filter};
use crate::grant::UnsupportedGrant;

/// One rule of a client's ACL. The first rule that matches decides.
#[derive(Serialize)]
pub(crate) struct Rule<'a> {
    permission: &'static str,
    action: &'static str,
    topics: Vec<Cow<'a, str>>,
}

/// EMQX's own topics with an effect: its statistics, delayed messages, file transfer.
const SYSTEM_FILTERS: [&str; 3] = ["$SYS/#", "$delayed/#", "$file/#"];

/// The beginnings that give a filter a special meaning in EMQX.
const RESERVED_PREFIXES: [&str; 4] = ["eq ", "$share/", "$queue/", "$exclusive/"];

/// The rules that allow the topics of these filters, and no others.
///
/// In most versions of EMQX, `#` does not match topics that begin with `$`, so the end of the list denies system topics
/// by name. Not every version agrees, so a grant with a leading wildcard also denies them before that wildcard is
/// allowed, and after the system topics that the grant itself names.
pub(crate) fn rules<'a>(publish: &'a [String], subscribe: &'a [String]) -> Result<Vec<Rule<'a>>, UnsupportedGrant> {
    publish.iter().chain(subscribe).try_for_each(|filter| check_filter(filter))?;
    let wider: Vec<String> = subscribe.iter().filter_map(|filter| emqx_wider_filter(filter)).collect();
    if wider.iter().any(|wider| wider.contains('+')) {
        return Err(UnsupportedGrant::FilterTooWide);
    }
    let mut rules = Vec::new();
    let not_granted = wider.iter().filter(|wider| !subscribe.iter().any(|filter| covers(filter, wider)));
    push(&mut rules, "deny", "subscribe", not_granted.map(|wider| format!("eq {wider}").into()));
    if publish.iter().chain(subscribe).any(|filter| filter.starts_with(['#', '+'])) {
        push(&mut rules, "allow", "publish", system_filters(publish));
        push(&mut rules, "allow", "subscribe", system_filters(subscribe));
        push(&mut rules, "deny", "all", SYSTEM_FILTERS.into_iter().map(Into::into));
    }
    push(&mut rules, "allow", "publish", publish.iter().map(Into::into));
    push(&mut rules, "allow", "subscribe", subscribe.iter().map(Into::into));
    push(&mut rules, "deny", "all", ["#"].into_iter().chain(SYSTEM_FILTERS).map(Into::into));
    Ok(rules)
}

/// Adds a rule, unless it has no topics.
fn push<'a>(
    rules: &mut Vec<Rule<'a>>,
    permission: &'static str,
    action: &'static str,
    topics: impl Iterator<Item = Cow<'a, str>>,
) {
    let topics: Vec<_> = topics.collect();
    if !topics.is_empty() {
        rules.push(Rule { permission, action, topics });
    }
}

fn system_filters(filters: &[String]) -> impl Iterator<Item = Cow<'_, str>> {
    filters.iter().filter(|filter| filter.starts_with('$')).map(Into::into)
}

/// The wider filter that EMQX allows along with this one. EMQX compares level by level, so that the `+` of a rule
/// matches the `#` of a subscription (`emqx_topic:match/2`).
///
/// If the wider filter has a `+` itself, EMQX also allows every filter with a name in that level.
fn emqx_wider_filter(filter: &str) -> Option<String> {
    let parent = filter.strip_suffix('+').or_else(|| filter.strip_suffix("+/#"))?;
    Some(format!("{parent}#"))
}

/// Checks that EMQX reads this as a plain topic filter.
fn check_filter(filter: &str) -> Result<(), UnsupportedGrant> {
    if !is_filter(filter) {
        return Err(UnsupportedGrant::InvalidFilter);
    }
    let is_reserved = RESERVED_PREFIXES.iter().any(|prefix| filter.starts_with(prefix)) || filter.contains("${");
    if is_reserved { Err(UnsupportedGrant::ReservedFilter) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plus_at_the_end_lets_emqx_allow_the_whole_level() {
        for (filter, wider) in [
            ("+", Some("#")),
            ("a/+", Some("a/#")),
            ("a/+/#", Some("a/#")),
            ("+/+", Some("+/#")),
            ("a/+/b", None),
            ("a/#", None),
            ("a", None),
        ] {
            assert_eq!(emqx_wider_filter(filter).as_deref(), wider, "{filter}");
        }
    }
}
