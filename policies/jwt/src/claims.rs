//! The claims of a token whose signature is valid.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::Refusal;
use crate::bindings::exports::mqtt_gate::auth::authenticator::{Access, Effect, QosLevels, Rule, RuleAction};
use crate::settings::Settings;

/// The claims that count. All others are ignored, but for the one that names the client.
#[derive(Deserialize)]
pub(crate) struct Claims {
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<OneOrMany>,
    #[serde(default)]
    is_superuser: bool,
    acl: Option<Acl>,
    #[serde(default)]
    pub(crate) client_attrs: BTreeMap<String, String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// The claim `acl` of EMQX: lists of topics, or ordered rules.
#[derive(Deserialize)]
#[serde(untagged)]
enum Acl {
    Rules(Vec<AclRule>),
    Topics(AclTopics),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AclTopics {
    #[serde(default)]
    r#pub: Vec<String>,
    #[serde(default)]
    sub: Vec<String>,
    #[serde(default)]
    all: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AclRule {
    permission: Permission,
    action: Action,
    topic: String,
    qos: Option<Levels>,
    retain: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Permission {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Publish,
    Subscribe,
    All,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Levels {
    One(u8),
    Many(Vec<u8>),
}

impl Claims {
    /// Checks who the token is for, and when. Returns its end, in seconds since 1970.
    pub(crate) fn check(&self, client_id: &str, settings: &Settings, now: u64) -> Result<u64, Refusal> {
        let leeway = settings.leeway_seconds;
        let expires_at = seconds(self.exp.ok_or(Refusal::NoExpiry)?).ok_or(Refusal::MalformedClaims)?;
        if expires_at.saturating_add(leeway) <= now {
            return Err(Refusal::Expired);
        }
        let begins_at = self.nbf.map(|nbf| seconds(nbf).ok_or(Refusal::MalformedClaims)).transpose()?;
        if begins_at.is_some_and(|begins_at| begins_at > now.saturating_add(leeway)) {
            return Err(Refusal::NotYetValid);
        }
        if settings.issuer.is_some() && self.iss != settings.issuer {
            return Err(Refusal::WrongIssuer);
        }
        if settings.audience.as_deref().is_some_and(|audience| !self.is_for(audience)) {
            return Err(Refusal::WrongAudience);
        }
        let named = |claim: &String| self.text(claim).is_some_and(|named| named == client_id && !client_id.is_empty());
        match &settings.client_id_claim {
            Some(claim) if !named(claim) => Err(Refusal::WrongClientId),
            // A session outlasts its token by no more than clocks may differ.
            _ => Ok(expires_at.max(now.saturating_add(1))),
        }
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.others.get(claim).and_then(Value::as_str)
    }

    fn is_for(&self, audience: &str) -> bool {
        match &self.aud {
            Some(OneOrMany::One(one)) => one == audience,
            Some(OneOrMany::Many(many)) => many.iter().any(|one| one == audience),
            None => false,
        }
    }

    /// The topics that the token grants. `None`: a rule has a level of service that does not exist, or a placeholder that
    /// cannot be filled in.
    pub(crate) fn access(&self, client_id: &str) -> Option<Access> {
        if self.is_superuser {
            return Some(Access::Everything);
        }
        let allow = |action, topic: &String| {
            Some(Rule { effect: Effect::Allow, action, filter: self.fill(topic, client_id)?, qos: None, retain: None })
        };
        let rules: Option<_> = match &self.acl {
            None => return Some(Access::BrokerRules),
            Some(Acl::Topics(AclTopics { r#pub, sub, all })) => {
                let publish = r#pub.iter().map(|topic| allow(RuleAction::Publish, topic));
                let subscribe = sub.iter().map(|topic| allow(RuleAction::Subscribe, topic));
                publish.chain(subscribe).chain(all.iter().map(|topic| allow(RuleAction::Both, topic))).collect()
            }
            Some(Acl::Rules(rules)) => rules.iter().map(|rule| self.rule(rule, client_id)).collect(),
        };
        rules.map(Access::Rules)
    }

    fn rule(&self, AclRule { permission, action, topic, qos, retain }: &AclRule, client_id: &str) -> Option<Rule> {
        Some(Rule {
            effect: match permission {
                Permission::Allow => Effect::Allow,
                Permission::Deny => Effect::Deny,
            },
            action: match action {
                Action::Publish => RuleAction::Publish,
                Action::Subscribe => RuleAction::Subscribe,
                Action::All => RuleAction::Both,
            },
            filter: self.fill(topic, client_id)?,
            qos: match qos {
                Some(levels) => Some(levels.qos()?),
                None => None,
            },
            retain: *retain,
        })
    }

    /// Fills in the placeholders of EMQX. The user name is that of the token: a client can send any other.
    fn fill(&self, topic: &str, client_id: &str) -> Option<String> {
        let mut topic = topic.to_owned();
        for (placeholder, value) in [
            ("${clientid}", Some(client_id)),
            ("%c", Some(client_id)),
            ("${username}", self.text("username")),
            ("%u", self.text("username")),
        ] {
            if topic.contains(placeholder) {
                // A wildcard or a separator would make another filter of it.
                let value =
                    value.filter(|value| !value.is_empty() && !value.contains(['+', '#', '/', '\0', '$', '%']))?;
                topic = topic.replace(placeholder, value);
            }
        }
        Some(topic)
    }
}

impl Levels {
    fn qos(&self) -> Option<QosLevels> {
        let levels = match self {
            Self::One(level) => std::slice::from_ref(level),
            Self::Many(levels) => levels,
        };
        levels.iter().try_fold(QosLevels::empty(), |qos, level| {
            Some(
                qos | match level {
                    0 => QosLevels::AT_MOST_ONCE,
                    1 => QosLevels::AT_LEAST_ONCE,
                    2 => QosLevels::EXACTLY_ONCE,
                    _ => return None,
                },
            )
        })
    }
}

/// A date of a token in whole seconds.
fn seconds(date: f64) -> Option<u64> {
    // Dates after the year 9999 are mistakes, such as milliseconds.
    (0.0..253_402_300_800.0).contains(&date).then_some(date as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn settings(name: &str, value: &str) -> Settings {
        Settings::read(|asked| Ok((asked == name).then(|| value.to_owned()))).unwrap()
    }

    fn check(claims: Value, settings: &Settings) -> Result<u64, Refusal> {
        serde_json::from_value::<Claims>(claims).unwrap().check("c", settings, NOW)
    }

    #[test]
    fn a_token_counts_from_nbf_to_exp() {
        let none = settings("", "");
        let at = |exp: Value, nbf: Value| check(json!({ "sub": "c", "exp": exp, "nbf": nbf }), &none);
        assert_eq!(at(json!(NOW + 60), json!(NOW)), Ok(NOW + 60));
        assert_eq!(at(json!((NOW + 60) as f64 + 0.5), Value::Null), Ok(NOW + 60));
        assert_eq!(at(json!(NOW - 29), Value::Null), Ok(NOW + 1), "within the leeway");
        assert_eq!(at(json!(NOW - 30), Value::Null), Err(Refusal::Expired));
        assert_eq!(at(json!(NOW + 60), json!(NOW + 31)), Err(Refusal::NotYetValid));
        assert_eq!(at(Value::Null, Value::Null), Err(Refusal::NoExpiry));
        assert_eq!(at(json!(NOW * 1000), Value::Null), Err(Refusal::MalformedClaims), "milliseconds");
        assert_eq!(at(json!(-1), Value::Null), Err(Refusal::MalformedClaims));
    }

    #[test]
    fn a_token_is_for_one_client_and_one_audience() {
        let token = |extra: Value| {
            let mut claims = json!({ "sub": "c", "exp": NOW + 60 });
            claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            claims
        };
        let audience = settings("audience", "mqtt");
        assert_eq!(check(token(json!({})), &audience), Err(Refusal::WrongAudience));
        assert_eq!(check(token(json!({ "aud": ["web", "mqtt"] })), &audience), Ok(NOW + 60));
        assert_eq!(check(token(json!({ "iss": "b" })), &settings("issuer", "a")), Err(Refusal::WrongIssuer));
        assert_eq!(check(token(json!({ "sub": "d" })), &settings("", "")), Err(Refusal::WrongClientId));
        assert_eq!(check(token(json!({ "sub": 1 })), &settings("", "")), Err(Refusal::WrongClientId));
        assert_eq!(check(token(json!({ "sub": "d", "id": "c" })), &settings("client-id-claim", "id")), Ok(NOW + 60));
        assert_eq!(check(token(json!({ "sub": "d" })), &settings("client-id-claim", "")), Ok(NOW + 60));
    }

    #[test]
    fn both_formats_of_emqx_grant_topics() {
        let access = |acl: Value| {
            let claims = serde_json::from_value::<Claims>(json!({ "acl": acl, "username": "u" })).unwrap();
            let Some(Access::Rules(rules)) = claims.access("c") else { panic!("no rules") };
            rules.into_iter().map(|rule| (rule.effect == Effect::Allow, rule.action, rule.filter)).collect::<Vec<_>>()
        };
        let (publish, subscribe, both) = (RuleAction::Publish, RuleAction::Subscribe, RuleAction::Both);
        assert_eq!(
            access(json!({ "pub": ["up/${clientid}"], "sub": ["down/%u"], "all": ["x"] })),
            [(true, publish, "up/c".into()), (true, subscribe, "down/u".into()), (true, both, "x".into())]
        );
        let rules = json!([
            { "permission": "deny", "action": "all", "topic": "a/#" },
            { "permission": "allow", "action": "publish", "topic": "b", "qos": [0, 1], "retain": false },
        ]);
        assert_eq!(access(rules), [(false, both, "a/#".into()), (true, publish, "b".into())]);
    }

    #[test]
    fn an_unknown_claim_format_grants_nothing() {
        for acl in
            [json!("a"), json!({ "publish": ["a"] }), json!([{ "permission": "maybe", "action": "all", "topic": "a" }])]
        {
            assert!(serde_json::from_value::<Claims>(json!({ "acl": acl })).is_err(), "{acl}");
        }
        let qos = json!([{ "permission": "allow", "action": "all", "topic": "a", "qos": 3 }]);
        assert!(serde_json::from_value::<Claims>(json!({ "acl": qos })).unwrap().access("c").is_none());
    }

    #[test]
    fn a_client_cannot_widen_its_topics_by_its_name() {
        let acl = |topic: &str| serde_json::from_value::<Claims>(json!({ "acl": { "all": [topic] } })).unwrap();
        assert!(acl("up/%c").access("c").is_some());
        for client_id in ["#", "+", "a/b", "", "a/#", "${username}", "%u"] {
            assert!(acl("up/%c").access(client_id).is_none(), "{client_id}");
        }
        assert!(acl("up/%u").access("c").is_none(), "the token names no user");
    }
}
