//! The condition under which a policy of a chain is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use wildmatch::WildMatch;

use crate::policy::{AuthorizeRequest, Credentials};

/// Ends the group in a client id (`group@@@mac@@@suffix`).
const GROUP_END: &str = "@@@";

/// The attribute with the name of the broker's listener.
const LISTENER: &str = "listener";

/// The clients that a policy is asked about (`when`). Empty: all of them.
///
/// A fact that a request does not tell never excludes a client: the requests of some brokers lack the address, and a
/// policy that denies must not drop out because of that.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default, expecting = "a table of conditions")]
pub struct Condition {
    /// The group in the client id. `*` and `?` stand for other characters here and in all texts below.
    pub group: Option<Patterns>,
    /// The client id.
    pub client_id: Option<Patterns>,
    /// The user name.
    pub username: Option<Patterns>,
    /// Networks that the address of the client is in.
    pub peer: Option<Networks>,
    /// The attribute `listener`.
    pub listener: Option<Patterns>,
    /// Other attributes.
    pub attribute: BTreeMap<String, Patterns>,
}

/// Texts of which one must match.
#[derive(Clone, Debug, PartialEq)]
pub struct Patterns(Vec<WildMatch>);

/// Networks of which one must hold an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// Facts of a request about its client.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    client_id: &'a str,
    username: Option<&'a str>,
    peer_host: Option<&'a str>,
    attributes: &'a [(String, String)],
}

impl<'a> From<&'a Credentials> for Facts<'a> {
    fn from(credentials: &'a Credentials) -> Self {
        Self {
            client_id: &credentials.client_id,
            username: credentials.username.as_deref(),
            peer_host: credentials.peer_host.as_deref(),
            attributes: &credentials.attributes,
        }
    }
}

impl<'a> From<&'a AuthorizeRequest> for Facts<'a> {
    fn from(request: &'a AuthorizeRequest) -> Self {
        Self {
            client_id: &request.client_id,
            username: request.username.as_deref(),
            peer_host: request.peer_host.as_deref(),
            attributes: &request.attributes,
        }
    }
}

impl<'a> Facts<'a> {
    /// The client id. Some brokers ask about a user name only.
    fn client_id(&self) -> Option<&'a str> {
        Some(self.client_id).filter(|id| !id.is_empty())
    }

    /// The group of the client id; the empty one if the client id has none.
    fn group(&self) -> Option<&'a str> {
        self.client_id().map(|id| id.split_once(GROUP_END).map_or("", |(group, _)| group))
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer_host?.parse().ok().map(|address: IpAddr| address.to_canonical())
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Condition {
    /// Whether there is no condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the policy is asked about this client.
    #[must_use]
    pub fn includes(&self, facts: &Facts) -> bool {
        self.holds(facts, true)
    }

    /// Whether these facts show that the policy is meant for this client: it would be asked whatever else were known.
    #[must_use]
    pub fn surely_includes(&self, facts: &Facts) -> bool {
        self.holds(facts, false)
    }

    /// Whether all conditions hold. Those on an unknown fact hold if `unknown` says so.
    fn holds(&self, facts: &Facts, unknown: bool) -> bool {
        let Self { group, client_id, username, peer, listener, attribute } = self;
        let matches = |patterns: &Patterns, fact: Option<&str>| fact.map_or(unknown, |fact| patterns.matches(fact));
        let fits = |patterns: &Option<Patterns>, fact: Option<&str>| {
            patterns.as_ref().is_none_or(|patterns| matches(patterns, fact))
        };
        // The group is looked for only where a condition needs it: most policies have none, and each login comes by here.
        (group.is_none() || fits(group, facts.group()))
            && fits(client_id, facts.client_id())
            && fits(username, facts.username)
            && (listener.is_none() || fits(listener, facts.attribute(LISTENER)))
            && peer.as_ref().is_none_or(|networks| facts.peer().map_or(unknown, |peer| networks.contain(peer)))
            && attribute.iter().all(|(name, patterns)| matches(patterns, facts.attribute(name)))
    }

    /// Conditions on facts that not every request tells, as the operator wrote their keys.
    pub fn uncertain_keys(&self) -> impl Iterator<Item = String> {
        let keys = [
            ("username", self.username.is_some()),
            ("peer", self.peer.is_some()),
            ("listener", self.listener.is_some()),
        ];
        let keys = keys.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key.to_owned());
        keys.chain(self.attribute.keys().map(|name| format!("attribute.{name}")))
    }
}

impl fmt::Display for Condition {
    /// The conditions as text for operators. Names and patterns are the operator's own.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { group, client_id, username, peer, listener, attribute } = self;
        let texts = [("group", group), ("client_id", client_id), ("username", username), ("listener", listener)];
        let texts =
            texts.into_iter().filter_map(|(key, patterns)| Some((key.to_owned(), patterns.as_ref()?.to_string())));
        let peers = peer.iter().map(|networks| ("peer".to_owned(), networks.to_string()));
        let attributes = attribute.iter().map(|(name, patterns)| (format!("attribute.{name}"), patterns.to_string()));
        for (index, (key, values)) in texts.chain(peers).chain(attributes).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{key}: {values}")?;
        }
        Ok(())
    }
}

impl Patterns {
    fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(text))
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write_list(f, &self.0)
    }
}

impl Networks {
    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write_list(f, &self.0)
    }
}

fn write_list(f: &mut fmt::Formatter, items: &[impl fmt::Display]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}

/// One text or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn deserialize_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        let texts = match OneOrMany::deserialize(deserializer) {
            Ok(Self::One(text)) => vec![text],
            Ok(Self::Many(texts)) => texts,
            Err(_) => return Err(D::Error::custom("a condition is a string or a list of strings")),
        };
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            return Err(D::Error::custom(
                "a condition is empty, so no client would fit it; remove it, or name a value",
            ));
        }
        Ok(texts)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = OneOrMany::deserialize_list(deserializer)?;
        Ok(Self(texts.iter().map(|text| WildMatch::new(text)).collect()))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: String| {
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| D::Error::custom("a peer is not a network, such as 192.0.2.0/24 or 2001:db8::/32"))
        };
        OneOrMany::deserialize_list(deserializer)?.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(json: serde_json::Value) -> Condition {
        serde_json::from_value(json).unwrap()
    }

    fn device(peer: Option<&str>, attributes: &[(&str, &str)]) -> Credentials {
        Credentials {
            client_id: "GID_a@@@AA_BB@@@1".to_owned(),
            username: Some("u".to_owned()),
            peer_host: peer.map(str::to_owned),
            attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            password: None,
            authentication_method: None,
            authentication_data: None,
        }
    }

    #[test]
    fn a_condition_includes_the_clients_that_fit_every_key() {
        let device = device(Some("192.0.2.7"), &[("listener", "tcp:default"), ("zone", "eu")]);
        for (when, expected) in [
            (serde_json::json!({}), true),
            (serde_json::json!({ "group": "GID_a" }), true),
            (serde_json::json!({ "group": ["GID_b", "GID_?"] }), true),
            (serde_json::json!({ "group": "GID_b" }), false),
            (serde_json::json!({ "client_id": "GID_a@@@*" }), true),
            (serde_json::json!({ "client_id": "GID_a" }), false),
            (serde_json::json!({ "username": "u", "group": "GID_b" }), false),
            (serde_json::json!({ "peer": "192.0.2.0/24" }), true),
            (serde_json::json!({ "peer": "192.0.2.7" }), true),
            (serde_json::json!({ "peer": ["10.0.0.0/8", "2001:db8::/32"] }), false),
            (serde_json::json!({ "listener": "tcp:*" }), true),
            (serde_json::json!({ "attribute": { "zone": "us" } }), false),
        ] {
            assert_eq!(condition(when.clone()).includes(&Facts::from(&device)), expected, "{when}");
        }
    }

    #[test]
    fn a_fact_that_a_request_does_not_tell_excludes_no_client() {
        let mut unknown = device(None, &[]);
        unknown.username = None;
        for when in [
            serde_json::json!({ "peer": "10.0.0.0/8" }),
            serde_json::json!({ "username": "x" }),
            serde_json::json!({ "listener": "x" }),
            serde_json::json!({ "attribute": { "zone": "x" } }),
        ] {
            assert!(condition(when.clone()).includes(&Facts::from(&unknown)), "{when}");
        }
        let odd = device(Some("a host name"), &[]);
        assert!(condition(serde_json::json!({ "peer": "10.0.0.0/8" })).includes(&Facts::from(&odd)));
        unknown.client_id = String::new();
        assert!(condition(serde_json::json!({ "group": "x", "client_id": "x" })).includes(&Facts::from(&unknown)));
    }

    #[test]
    fn a_mapped_address_is_in_its_network() {
        let mapped = device(Some("::ffff:192.0.2.7"), &[]);
        assert!(condition(serde_json::json!({ "peer": "192.0.2.0/24" })).includes(&Facts::from(&mapped)));
    }

    #[test]
    fn mistakes_are_named() {
        for (when, problem) in [
            (serde_json::json!({ "group": [] }), "a condition is empty"),
            (serde_json::json!({ "group": "" }), "a condition is empty"),
            (serde_json::json!({ "group": 1 }), "a string or a list of strings"),
            (serde_json::json!({ "peer": "localhost" }), "a peer is not a network"),
            (serde_json::json!({ "grop": "a" }), "unknown field"),
        ] {
            let error = serde_json::from_value::<Condition>(when.clone()).unwrap_err().to_string();
            assert!(error.contains(problem), "{when}: {error}");
        }
    }

    #[test]
    fn a_condition_is_shown_as_written() {
        let when = serde_json::json!({ "group": ["a", "b*"], "peer": "10.0.0.0/8", "attribute": { "zone": "eu" } });
        assert_eq!(condition(when).to_string(), "group: a, b*; peer: 10.0.0.0/8; attribute.zone: eu");
    }
}
