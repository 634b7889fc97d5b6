//! The rules that limit a client to the topics of its grant in EMQX.
//!
//! `auth-core` has a copy of the filter checks, because a policy depends on nothing but `wit/`. It rejects such filters
//! when it reads its settings.

use std::borrow::Cow;

use serde::Serialize;

use crate::filter::{covers, is_filter};
use crate::grant::{Effect, QosLevels, Rule, RuleAction, UnsupportedGrant};

/// One rule of a client's ACL. The first rule that matches decides.
#[derive(Serialize)]
pub(crate) struct AclRule<'a> {
    permission: &'static str,
    action: &'static str,
    topics: Vec<Cow<'a, str>>,
    /// Absent: every level.
    #[serde(skip_serializing_if = "Option::is_none")]
    qos: Option<Vec<u8>>,
    /// Absent: retained messages and others.
    #[serde(skip_serializing_if = "Option::is_none")]
    retain: Option<bool>,
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
pub(crate) fn rules<'a>(publish: &'a [String], subscribe: &'a [String]) -> Result<Vec<AclRule<'a>>, UnsupportedGrant> {
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
    push_end(&mut rules);
    Ok(rules)
}

/// The rules of a grant in their order, and an end that denies everything else.
///
/// As in [`rules`], system topics are denied before a leading wildcard is allowed. The rules about topics that begin with
/// `$` come before that: no filter matches such topics and others, so their place among the others has no meaning.
pub(crate) fn ordered_rules(rules: &[Rule]) -> Result<Vec<AclRule<'_>>, UnsupportedGrant> {
    rules.iter().try_for_each(|rule| check_filter(&rule.filter))?;
    let mut list = Vec::with_capacity(rules.len() + 1);
    let (system, others): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.filter.starts_with('$'));
    for rule in system {
        push_rule(&mut list, rule, rules)?;
    }
    if others.iter().any(|rule| rule.effect == Effect::Allow && rule.filter.starts_with(['#', '+'])) {
        push(&mut list, "deny", "all", SYSTEM_FILTERS.into_iter().map(Into::into));
    }
    for rule in others {
        push_rule(&mut list, rule, rules)?;
    }
    push_end(&mut list);
    Ok(list)
}

/// Adds a rule. If EMQX would allow a wider subscription along with it, a rule before it denies that one.
fn push_rule<'a>(list: &mut Vec<AclRule<'a>>, rule: &'a Rule, all: &[Rule]) -> Result<(), UnsupportedGrant> {
    let permission = match rule.effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    };
    let qos = qos_list(rule.qos);
    if rule.effect == Effect::Allow
        && rule.action != RuleAction::Publish
        && let Some(wider) = emqx_wider_filter(&rule.filter)
    {
        if wider.contains('+') {
            return Err(UnsupportedGrant::FilterTooWide);
        }
        if !is_allowed(&wider, rule.qos, all) {
            let topics = vec![format!("eq {wider}").into()];
            list.push(AclRule { permission: "deny", action: "subscribe", topics, qos: qos.clone(), retain: None });
        }
    }
    let mut push = |action, qos, retain| {
        list.push(AclRule { permission, action, topics: vec![rule.filter.as_str().into()], qos, retain });
    };
    match rule.action {
        RuleAction::Publish => push("publish", qos, rule.retain),
        RuleAction::Subscribe => push("subscribe", qos, None),
        RuleAction::Both if rule.retain.is_none() => push("all", qos, None),
        // A subscription says nothing about retained messages.
        RuleAction::Both => {
            push("publish", qos.clone(), rule.retain);
            push("subscribe", qos, None);
        }
    }
    Ok(())
}

/// Whether the first rule that covers this subscription allows it, in at least these levels of quality of service.
fn is_allowed(filter: &str, qos: Option<QosLevels>, rules: &[Rule]) -> bool {
    let mut about = rules.iter().filter(|rule| rule.action != RuleAction::Publish && covers(&rule.filter, filter));
    about.next().is_some_and(|rule| rule.effect == Effect::Allow && (rule.qos.is_none() || rule.qos == qos))
}

/// The levels of a rule, as EMQX reads them; `None` for all of them.
fn qos_list(qos: Option<QosLevels>) -> Option<Vec<u8>> {
    let QosLevels(levels) = qos?;
    let list: Vec<u8> = (0_u8..).zip(levels).filter_map(|(level, is_in)| is_in.then_some(level)).collect();
    (list.len() < levels.len()).then_some(list)
}

/// Adds the rule that denies everything.
fn push_end(rules: &mut Vec<AclRule>) {
    push(rules, "deny", "all", ["#"].into_iter().chain(SYSTEM_FILTERS).map(Into::into));
}

/// Adds a rule, unless it has no topics.
fn push<'a>(
    rules: &mut Vec<AclRule<'a>>,
    permission: &'static str,
    action: &'static str,
    topics: impl Iterator<Item = Cow<'a, str>>,
) {
    let topics: Vec<_> = topics.collect();
    if !topics.is_empty() {
        rules.push(AclRule { permission, action, topics, qos: None, retain: None });
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
