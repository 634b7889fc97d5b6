//! Verdicts by the body of a 200, as EMQX 5 reads them, and rmqtt too.
//!
//! EMQX 5.8 takes every other status, a reply that is not JSON and a reply without `result` for *ignore*: its next
//! authenticator decides, and without one the client is refused. So a fault is a plain `deny` here, which is final.
//! What it makes of each member was measured on 5.8.9; see also its source, `emqx_authn_http.erl`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::emqx_acl::{Rule, rules};
use crate::auth_request::{Action, Actions, Asked, Credentials, Question, Spelling, Wanted};
use crate::grant::{Access, Admission, Grant, UnfitGrant};
use crate::parse::fields::Members;
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
    let counted = members.word("acc")?.map(|number| super::mosquitto::actions(&number));
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
    if *grant == Grant::default() {
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
            body.serialize_entry("client_attrs", &Attributes(&self.grant.attributes))?;
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

struct Attributes<'a>(&'a [(String, String)]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
