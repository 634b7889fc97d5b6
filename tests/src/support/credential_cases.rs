//! Recorded credentials with their expected verdicts (`tests/vectors/credentials.json`).

use std::collections::BTreeMap;

use auth_core::{Credentials, Settings, UnixTime, Verdict, authenticate};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::support::http::{Connection, post_json};

const CASES: &str = include_str!("../../vectors/credentials.json");

/// The two values of the setting `groups` that every case has an expected verdict for.
pub(crate) const GROUPS: [&str; 2] = ["GID_test,GID_gateway", "*"];

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    key: Option<String>,
    client_id: Value,
    username: Value,
    password: Value,
    username_recipe: Option<String>,
    username_sha256: Option<String>,
    gate: String,
    gate_any_group: String,
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = serde_json::from_str::<File>(CASES).unwrap().cases;
    for case in &mut cases {
        if let Some(recipe) = &case.username_recipe {
            case.username = expand_recipe(recipe).into();
            let digest = Sha256::digest(case.username.as_str().unwrap());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(Some(&digest), case.username_sha256.as_ref(), "{}", case.id);
        }
    }
    cases
}

/// Expands a text that is too long to store, from its recipe: `b64("text" + "text"*times + …)`.
fn expand_recipe(recipe: &str) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let sum = recipe.strip_prefix("b64(").and_then(|rest| rest.strip_suffix(')')).unwrap();
    let term = |term: &str| match term.rsplit_once("\"*") {
        Some((text, times)) => literal(&format!("{text}\"")).repeat(times.parse().unwrap()),
        None => literal(term),
    };
    BASE64_STANDARD.encode(sum.split(" + ").map(term).collect::<String>())
}

fn literal(quoted: &str) -> String {
    serde_json::from_str(quoted).unwrap()
}

/// The cases that have a key, by their keys. A gate does not start without one: see `reload::rejected_policies`.
pub(crate) fn cases_by_key() -> BTreeMap<String, Vec<Case>> {
    let mut by_key: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in cases().into_iter().filter(|case| case.key.as_ref().is_some_and(|key| !key.is_empty())) {
        by_key.entry(case.key.clone().unwrap()).or_default().push(case);
    }
    by_key
}

/// The settings that a host of the default policy needs for the cases of one key.
pub(crate) fn settings<'a>(key: &'a str, groups: &'a str) -> [(&'static str, &'a str); 3] {
    [("signature-keys", key), ("allow-insecure-key", "true"), ("groups", groups)]
}

impl Case {
    fn setting(&self, name: &str, groups: &str) -> Option<String> {
        match name {
            "signature-keys" => self.key.clone(),
            "allow-insecure-key" => Some("true".to_owned()),
            "groups" => Some(groups.to_owned()),
            _ => None,
        }
    }

    /// The expected verdict under this value of `groups`.
    pub(crate) fn expected(&self, groups: &str) -> &str {
        if groups == "*" { &self.gate_any_group } else { &self.gate }
    }

    pub(crate) fn body(&self) -> Value {
        let fields = [("client_id", &self.client_id), ("username", &self.username), ("password", &self.password)];
        Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect::<Map<_, _>>())
    }

    /// The verdict of the library `auth-core`; `None` if the case cannot be expressed as its input.
    pub(crate) fn evaluate_in_library(&self, groups: &str) -> Option<String> {
        let (Value::String(client_id), Value::String(username), Value::String(password)) =
            (&self.client_id, &self.username, &self.password)
        else {
            return None;
        };
        let settings = match Settings::read(|name| self.setting(name, groups)) {
            Ok(settings) => settings,
            Err(error) => return Some(format!("refuses to load: {}", error.problem)),
        };
        let credentials = Credentials { client_id, username: Some(username), password: Some(password.as_bytes()) };
        Some(match authenticate(&credentials, &settings, || UnixTime(0)) {
            Verdict::Allow(_) => "allow".to_owned(),
            Verdict::Deny(denial) => format!("deny {}", denial.reason().name()),
        })
    }

    /// Asserts the responses of `/mqtt/auth` and `/emqx/auth` to this case. A host with a fixed body limit may answer
    /// `413`.
    pub(crate) async fn assert_responses(&self, connection: &mut Connection, groups: &str, max_body: usize) {
        let expected = self.expected(groups);
        let body = self.body();
        let status = match expected {
            "allow" => 200,
            _ if body.to_string().len() > max_body => 413,
            "malformed-request" => 400,
            _ => 401,
        };
        assert_eq!(connection.request(&post_json("/mqtt/auth", &body)).await.status, status, "{}: {expected}", self.id);
        let response = connection.request(&post_json("/emqx/auth", &body)).await;
        let result = if expected == "allow" { "allow" } else { "deny" };
        assert_eq!((response.status, response.result().as_str()), (200, result), "{}", self.id);
    }
}
