//! Every credential that the generators and validators of the field were tried with gets its answer, from the library
//! and through the component in the gate.

use std::collections::BTreeMap;

use auth_core::{Credentials, Reason, Settings, UnixTime, Verdict, authenticate};
use bytesize::ByteSize;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::support::http::{Connection, post_json};
use crate::support::in_process::{AUTH_CORE, Gate};

const CASES: &str = include_str!("../../vectors/credentials.json");

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
            case.username = cook(recipe).into();
            let digest = Sha256::digest(case.username.as_str().unwrap());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(Some(&digest), case.username_sha256.as_ref(), "{}", case.id);
        }
    }
    cases
}

/// A text too long to print, from its recipe: `b64("text" + "text"*times + …)`.
fn cook(recipe: &str) -> String {
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

/// The cases that have a key, by their keys. A gate does not even start with none: see `candidates`.
pub(crate) fn cases_by_key() -> BTreeMap<String, Vec<Case>> {
    let mut by_key: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in cases().into_iter().filter(|case| case.key.as_ref().is_some_and(|key| !key.is_empty())) {
        by_key.entry(case.key.clone().unwrap()).or_default().push(case);
    }
    by_key
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

    /// The answer under these groups.
    pub(crate) fn expected(&self, groups: &str) -> &str {
        if groups == "*" { &self.gate_any_group } else { &self.gate }
    }

    pub(crate) fn body(&self) -> Value {
        let members = [("client_id", &self.client_id), ("username", &self.username), ("password", &self.password)];
        Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect::<Map<_, _>>())
    }

    /// What the library answers; `None` for what cannot even be put to it.
    fn ask_the_library(&self, groups: &str) -> Option<String> {
        let (Value::String(client_id), Value::String(username), Value::String(password)) =
            (&self.client_id, &self.username, &self.password)
        else {
            return None;
        };
        let settings = match Settings::read(|name| self.setting(name, groups)) {
            Ok(settings) => settings,
            Err(error) => return Some(format!("refuses to load: {}", error.problem)),
        };
        let who = Credentials { client_id, username: Some(username), password: Some(password.as_bytes()) };
        Some(match authenticate(&who, &settings, || UnixTime(0)) {
            Verdict::Allow(_) => "allow".to_owned(),
            Verdict::Deny(Reason::ClientIdentifierNotValid) => "deny client-identifier-not-valid".to_owned(),
            Verdict::Deny(Reason::BadUserNameOrPassword) => "deny bad-user-name-or-password".to_owned(),
        })
    }
}

/// The groups of the two answers that every case has.
pub(crate) const GROUPS: [&str; 2] = ["GID_test,GID_gateway", "*"];

#[test]
fn the_library_gives_every_case_its_answer() {
    let cases = cases();
    assert!(cases.len() >= 76);
    for groups in GROUPS {
        for case in &cases {
            let expected = case.expected(groups);
            match case.ask_the_library(groups) {
                Some(answer) => assert!(answer.starts_with(expected), "{}: {answer}, not {expected}", case.id),
                None => assert_eq!(expected, "malformed-request", "{}", case.id),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_component_in_the_gate_gives_every_case_its_answer() {
    for groups in GROUPS {
        for (key, cases) in &cases_by_key() {
            let gate = Gate::start_with(AUTH_CORE, |config| {
                config.policy.settings.set("signature-keys", key.clone());
                config.policy.settings.set("allow-insecure-key", "true".into());
                config.policy.settings.set("groups", groups.into());
                // Some user names are longer than any broker could send.
                config.limits.body = ByteSize::mib(1);
            })
            .await;
            let mut connection = Connection::open(gate.logins).await;
            for case in cases {
                let expected = case.expected(groups);
                let status = match expected {
                    "allow" => 200,
                    "malformed-request" => 400,
                    _ => 401,
                };
                let answer = connection.ask(&post_json("/mqtt/auth", &case.body())).await;
                assert_eq!(answer.status, status, "{}: {expected}", case.id);
                let answer = connection.ask(&post_json("/emqx/auth", &case.body())).await;
                let result = if expected == "allow" { "allow" } else { "deny" };
                assert_eq!((answer.status, answer.result().as_str()), (200, result), "{}", case.id);
            }
            gate.stop().await;
        }
    }
}
