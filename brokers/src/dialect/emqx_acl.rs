//! The rules by which EMQX keeps a client to the topics of its grant.

use std::borrow::Cow;

use serde::Serialize;

use crate::UnsupportedGrant;

/// One rule of a client's own list. The first that matches decides.
#[derive(Serialize)]
pub(crate) struct Rule<'a> {
    permission: &'static str,
    action: &'static str,
    topics: Vec<Cow<'a, str>>,
}

/// The rules that allow these topics, and no others.
///
/// `#` does not match topics that begin with `$`, so these are denied by name. Not every version of EMQX keeps to that,
/// so where the grant has such a wildcard they are denied before it, after what the grant names of them itself.
pub(crate) fn rules<'a>(publish: &'a [String], subscribe: &'a [String]) -> Result<Vec<Rule<'a>>, UnsupportedGrant> {
    publish.iter().chain(subscribe).try_for_each(|filter| check_filter(filter))?;
    if subscribe.iter().any(|filter| emqx_wider_filter(filter).is_some_and(|wider| wider.contains('+'))) {
        return Err(UnsupportedGrant::FilterTooWide);
    }
    let mut rules = Vec::new();
    let emqx_wider_filter = subscribe.iter().filter_map(|filter| emqx_wider_filter(filter));
    let emqx_wider_filter = emqx_wider_filter.filter(|wider| !subscribe.iter().any(|filter| covers(filter, wider)));
    push(&mut rules, "deny", "subscribe", emqx_wider_filter.map(|filter| format!("eq {filter}").into()));
    let begins_wild = |filter: &String| filter.starts_with(['#', '+']);
    if publish.iter().chain(subscribe).any(begins_wild) {
        let of_system = |filter: &&String| filter.starts_with('$');
        push(&mut rules, "allow", "publish", publish.iter().filter(of_system).map(text));
        push(&mut rules, "allow", "subscribe", subscribe.iter().filter(of_system).map(text));
        push(&mut rules, "deny", "all", SYSTEM.into_iter().map(Into::into));
    }
    push(&mut rules, "allow", "publish", publish.iter().map(text));
    push(&mut rules, "allow", "subscribe", subscribe.iter().map(text));
    push(&mut rules, "deny", "all", ["#"].into_iter().chain(SYSTEM).map(Into::into));
    Ok(rules)
}

/// What of EMQX's own topics does something: its figures, delayed messages, files.
const SYSTEM: [&str; 3] = ["$SYS/#", "$delayed/#", "$file/#"];

fn text(filter: &String) -> Cow<'_, str> {
    filter.into()
}

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

/// A wider filter that EMQX takes for allowed when this one is: it compares level by level, and so its `+` matches the
/// `#` of a subscription (`emqx_topic:match/2`). It is the only one if it has no `+` itself: otherwise there is one for
/// each name in that place.
fn emqx_wider_filter(filter: &str) -> Option<String> {
    let before = filter.strip_suffix('+').or_else(|| filter.strip_suffix("+/#"))?;
    Some(format!("{before}#"))
}

/// Whether a filter has all topics of one that ends with `#`, and has no other wildcard.
fn covers(filter: &str, wider: &str) -> bool {
    if wider.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = wider.split('/');
    for level in filter.split('/') {
        match levels.next() {
            _ if level == "#" => return true,
            Some(other) if other != "#" && (level == "+" || level == other) => {}
            _ => return false,
        }
    }
    false
}

fn check_filter(filter: &str) -> Result<(), UnsupportedGrant> {
    let mut levels = filter.split('/').rev();
    let last = levels.next().unwrap_or_default();
    let is_plain = |level: &str| level == "+" || !level.contains(['+', '#']);
    if filter.is_empty() || filter.len() > 65_535 || filter.contains('\0') {
        return Err(UnsupportedGrant::InvalidFilter);
    }
    if !(last == "#" || is_plain(last)) || !levels.all(is_plain) {
        return Err(UnsupportedGrant::InvalidFilter);
    }
    let has_meaning = ["eq ", "$share/", "$queue/", "$exclusive/"].iter().any(|begin| filter.starts_with(begin));
    if has_meaning || filter.contains("${") { Err(UnsupportedGrant::ReservedFilter) } else { Ok(()) }
}
