//! Verdicts by the body of a 200, as EMQX 5 reads them, and rmqtt too.
//!
//! EMQX 5.8 takes every other status, a reply that is not JSON and a reply without `result` for *ignore*: its next
//! authenticator decides, and without one the client is refused. So a fault is a plain `deny` here, which is final.
//! What it makes of each member was measured on 5.8.9; see also its source, `emqx_authn_http.erl`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::grant::{Access, Admission, Grant, UnfitGrant};
use crate::members::Members;
use crate::question::{Action, Actions, Asked, Credentials, Question, Spelling, Wanted};
use crate::reply::{ALLOW, DENY, IGNORE};
use crate::{Malformed, Mistake, Outcome, Reply, Request};

const SPELLING: Spelling =
    Spelling { client_id: &["client_id", "clientid"], peer_host: &["peerhost", "client_ip"], id_is_optional: true };

pub(crate) fn read_login(request: &Request) -> Result<Asked, Malformed> {
    let members = Members::read(request)?;
    let mut mistakes = unfilled(&members);
    mistakes.extend(missing(&members, &["username", "password"]));
    Ok(Asked { question: Question::Login(Credentials::take(members, &SPELLING)?), mistakes })
}

pub(crate) fn read_action(request: &Request) -> Result<Asked, Malformed> {
    let mut members = Members::read(request)?;
    let mut mistakes = unfilled(&members);
    mistakes.extend(missing(&members, &["username"]));
    let wanted = take_wanted(&mut members)?;
    Ok(Asked { question: Question::Actions(Actions::take(members, &SPELLING, wanted)?), mistakes })
}

/// What the operator's template does not name: the client's id, and these.
fn missing(members: &Members, names: &[&'static str]) -> Vec<Mistake> {
    let id = (!members.has(SPELLING.client_id)).then_some("clientid");
    let others = names.iter().copied().filter(|name| !members.has(&[name]));
    id.into_iter().chain(others).map(Mistake::Missing).collect()
}

pub(crate) fn unfilled(members: &Members) -> Vec<Mistake> {
    members.unfilled().map(|name| Mistake::Unfilled(name.to_owned())).collect()
}

/// What the client wants to do: a topic, and the word or number for which way.
///
/// EMQX fills in `action`; `access` is its older member, which rmqtt has too; `acc` is that of amqtt, as mosquitto
/// counts. A topic that holds `${` is refused: it is a placeholder, or else it has a meaning in EMQX's own rules.
pub(crate) fn take_wanted(members: &mut Members) -> Result<Vec<Wanted>, Malformed> {
    let topic = members.text(&["topic"])?.filter(|topic| !topic.is_empty()).ok_or(Malformed::Missing("topic"))?;
    if topic.contains("${") {
        return Err(Malformed::Unfilled("topic"));
    }
    let named = members.word("action")?.map(|word| match word.as_str() {
        "publish" => Ok(&[Action::Publish][..]),
        "subscribe" => Ok(&[Action::Subscribe][..]),
        _ => Err(Malformed::Unknown("action")),
    });
    let numbered = members.word("access")?.map(|number| match number.as_str() {
        "1" => Ok(&[Action::Subscribe][..]),
        "2" => Ok(&[Action::Publish][..]),
        _ => Err(Malformed::Unknown("access")),
    });
    let counted = members.word("acc")?.map(|number| crate::mosquitto::actions(&number));
    let mut said = [named, numbered, counted].into_iter().flatten();
    let actions = said.next().ok_or(Malformed::Missing("action"))??;
    for other in said {
        if other? != actions {
            return Err(Malformed::Twice("action"));
        }
    }
    Ok(actions.iter().map(|&action| Wanted { action, topic: topic.clone() }).collect())
}

/// Whether this is EMQX with the headers that it sends when its configuration names none.
pub(crate) fn has_default_headers(request: &Request) -> bool {
    (request.header)("keep-alive") == Some("timeout=30, max=1000")
}

/// The reply that lets a client in with all of its grant, if EMQX would understand it so.
pub(crate) fn admit(grant: &Grant, now: u64) -> Result<Admission, UnfitGrant> {
    grant.check_end(now)?;
    grant.check_attributes()?;
    let rules = match &grant.access {
        Access::Only { publish, subscribe } => Some(rules(publish, subscribe)?),
        Access::Everything | Access::BrokerRules => None,
    };
    if rules.is_none() && *grant == Grant::default() {
        return Ok(Admission(Reply::json(200, ALLOW)));
    }
    let body = Admitted { grant, rules };
    let body = serde_json::to_string(&body).map_err(|_| UnfitGrant::Unwritten)?;
    Ok(Admission(Reply::json(200, body)))
}

pub(crate) fn render(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Allow(Admission(reply)) => reply,
        Outcome::Deny | Outcome::NoVerdict => Reply::json(200, DENY),
        Outcome::Ignore => Reply::json(200, IGNORE),
        Outcome::Malformed(problem) => Reply::complaint(200, problem),
    }
}

/// The body of an admission. A member that says nothing is left out: EMQX takes `null` for a fault.
struct Admitted<'a> {
    grant: &'a Grant,
    rules: Option<Vec<Rule<'a>>>,
}

impl Serialize for Admitted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry("result", "allow")?;
        if self.grant.access == Access::Everything {
            body.serialize_entry("is_superuser", &true)?;
        }
        if !self.grant.attributes.is_empty() {
            let pairs = self.grant.attributes.iter().map(|(name, value)| (name, value));
            body.serialize_entry("client_attrs", &Map(pairs.collect()))?;
        }
        if let Some(end) = self.grant.expires_at {
            body.serialize_entry("expire_at", &end)?;
        }
        if let Some(rules) = &self.rules {
            body.serialize_entry("acl", rules)?;
        }
        body.end()
    }
}

struct Map<'a>(Vec<(&'a String, &'a String)>);

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// One rule of a client's own list. The first that matches decides.
#[derive(serde::Serialize)]
struct Rule<'a> {
    permission: &'static str,
    action: &'static str,
    topics: Vec<std::borrow::Cow<'a, str>>,
}

/// The rules that allow these topics, and no others.
///
/// `#` does not match topics that begin with `$`, so these are denied by name. Not every version of EMQX keeps to that,
/// so where the grant has such a wildcard they are denied before it, after what the grant names of them itself.
fn rules<'a>(publish: &'a [String], subscribe: &'a [String]) -> Result<Vec<Rule<'a>>, UnfitGrant> {
    publish.iter().chain(subscribe).try_for_each(|filter| check_filter(filter))?;
    if subscribe.iter().any(|filter| beyond(filter).is_some_and(|wider| wider.contains('+'))) {
        return Err(UnfitGrant::FilterTooWide);
    }
    let mut rules = Vec::new();
    let beyond = subscribe.iter().filter_map(|filter| beyond(filter));
    let beyond = beyond.filter(|wider| !subscribe.iter().any(|filter| covers(filter, wider)));
    push(&mut rules, "deny", "subscribe", beyond.map(|filter| format!("eq {filter}").into()));
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

fn text(filter: &String) -> std::borrow::Cow<'_, str> {
    filter.into()
}

fn push<'a>(
    rules: &mut Vec<Rule<'a>>,
    permission: &'static str,
    action: &'static str,
    topics: impl Iterator<Item = std::borrow::Cow<'a, str>>,
) {
    let topics: Vec<_> = topics.collect();
    if !topics.is_empty() {
        rules.push(Rule { permission, action, topics });
    }
}

/// A wider filter that EMQX takes for allowed when this one is: it compares level by level, and so its `+` matches the
/// `#` of a subscription (`emqx_topic:match/2`). It is the only one if it has no `+` itself: otherwise there is one for
/// each name in that place.
fn beyond(filter: &str) -> Option<String> {
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

fn check_filter(filter: &str) -> Result<(), UnfitGrant> {
    let mut levels = filter.split('/').rev();
    let last = levels.next().unwrap_or_default();
    let is_plain = |level: &str| level == "+" || !level.contains(['+', '#']);
    if filter.is_empty() || filter.len() > 65_535 || filter.contains('\0') {
        return Err(UnfitGrant::NotAFilter);
    }
    if !(last == "#" || is_plain(last)) || !levels.all(is_plain) {
        return Err(UnfitGrant::NotAFilter);
    }
    let has_meaning = ["eq ", "$share/", "$queue/", "$exclusive/"].iter().any(|begin| filter.starts_with(begin));
    if has_meaning || filter.contains("${") { Err(UnfitGrant::FilterWithMeaning) } else { Ok(()) }
}
