//! The default policy against a second implementation of its rules, which shares no code with it: other parsers, another
//! HMAC. Both must agree about every login.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use auth_core::{Credentials, DenyReason, Settings, UnixTime, Verdict, authenticate};
use base64::prelude::{BASE64_STANDARD, Engine};
use libfuzzer_sys::fuzz_target;
use ring::hmac;
use serde_json::Value;

const KEYS: [&str; 2] = ["the first key of the fuzzer", "the second key of the fuzzer"];
const GROUPS: [&str; 2] = ["GID_test", "GID_gateway"];

/// A login, each part of it good or anything.
#[derive(Arbitrary, Debug)]
struct Login {
    client_id: ClientId,
    username: Username,
    password: Password,
}

#[derive(Arbitrary, Debug)]
enum ClientId {
    Good { group: bool, mac: [u8; 6], separator: u8, suffix: u32 },
    /// A good one with these bytes at this place.
    Changed { at: u8, text: String },
    Any(String),
}

#[derive(Arbitrary, Debug)]
enum Username {
    Absent,
    Json(String),
    /// Members before and after a good one.
    Members { before: String, after: String },
    Any(String),
}

#[derive(Arbitrary, Debug)]
enum Password {
    Absent,
    SignedBy { key: u8 },
    Changed { key: u8, at: u8, byte: u8 },
    Any(Vec<u8>),
}

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let ring = format!(r#"[{{"id":"a","key":"{}"}},{{"id":"b","key":"{}"}}]"#, KEYS[0], KEYS[1]);
    Settings::read(|name| (name == "signature-keys").then(|| ring.clone())).expect("the settings are good")
});

impl ClientId {
    fn text(&self) -> String {
        match self {
            Self::Good { group, mac, separator, suffix } => {
                let separator = ["_", ":", "-"][usize::from(*separator) % 3];
                let mac = mac.map(|byte| format!("{byte:02X}")).join(separator);
                format!("{}@@@{mac}@@@{suffix}", GROUPS[usize::from(*group)])
            }
            Self::Changed { at, text } => {
                let mut good = "GID_test@@@AA_BB_CC_DD_EE_FF@@@0001".to_owned();
                let at = usize::from(*at) % good.len();
                good.replace_range(at..=at, text);
                good
            }
            Self::Any(text) => text.clone(),
        }
    }
}

impl Username {
    fn text(&self) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Json(json) => Some(BASE64_STANDARD.encode(json)),
            Self::Members { before, after } => {
                Some(BASE64_STANDARD.encode(format!(r#"{{{before}"ip":"127.0.0.1"{after}}}"#)))
            }
            Self::Any(text) => Some(text.clone()),
        }
    }
}

fn sign(key: u8, client_id: &str, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEYS[usize::from(key) % 2].as_bytes());
    BASE64_STANDARD.encode(hmac::sign(&key, format!("{client_id}|{username}").as_bytes()))
}

impl Password {
    fn bytes(&self, client_id: &str, username: &str) -> Option<Vec<u8>> {
        match self {
            Self::Absent => None,
            Self::SignedBy { key } => Some(sign(*key, client_id, username).into_bytes()),
            Self::Changed { key, at, byte } => {
                let mut password = sign(*key, client_id, username).into_bytes();
                let at = usize::from(*at) % password.len();
                password[at] = *byte;
                Some(password)
            }
            Self::Any(bytes) => Some(bytes.clone()),
        }
    }
}

fn is_client_id(text: &str) -> bool {
    let fields: Vec<&str> = text.split("@@@").collect();
    let [group, mac, suffix] = fields[..] else { return false };
    let consists_of = |text: &str, max: usize, others: &str| {
        (1..=max).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
    };
    let is_mac = ["_", ":", "-"].iter().any(|separator| {
        let pairs: Vec<&str> = mac.split(separator).collect();
        pairs.len() == 6 && pairs.iter().all(|pair| pair.len() == 2 && pair.chars().all(|c| c.is_ascii_hexdigit()))
    });
    text.len() <= 256
        && consists_of(group, 64, "_.-")
        && GROUPS.contains(&group)
        && (is_mac || (mac == "mqtt_gateway" && group == "GID_gateway"))
        && consists_of(suffix, 128, "_.:-")
}

fn is_username(text: &str) -> bool {
    if text.is_empty() || text.len() > 4096 {
        return false;
    }
    let decoded = BASE64_STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(json) = decoded else { return false };
    let mut parser = serde_json::Deserializer::from_str(&json);
    parser.disable_recursion_limit();
    let value: Result<Value, _> = serde::de::Deserialize::deserialize(&mut parser);
    let is_complete = parser.end().is_ok();
    // Of several members with one name, the last counts.
    is_complete && value.is_ok_and(|value| value.is_object() && value["ip"].is_string())
}

fn expected(client_id: &str, username: Option<&str>, password: Option<&[u8]>) -> Result<&'static str, DenyReason> {
    if !is_client_id(client_id) {
        return Err(DenyReason::ClientIdentifierNotValid);
    }
    let username = username.filter(|text| is_username(text)).ok_or(DenyReason::BadUserNameOrPassword)?;
    let password = password.ok_or(DenyReason::BadUserNameOrPassword)?;
    (0..2)
        .find(|key| sign(*key, client_id, username).as_bytes() == password)
        .map(|key| ["a", "b"][usize::from(key)])
        .ok_or(DenyReason::BadUserNameOrPassword)
}

fuzz_target!(|login: Login| {
    let client_id = login.client_id.text();
    let username = login.username.text();
    let password = login.password.bytes(&client_id, username.as_deref().unwrap_or_default());
    let (username, password) = (username.as_deref(), password.as_deref());
    let credentials = Credentials { client_id: &client_id, username, password };
    let decided = match authenticate(&credentials, &SETTINGS, || UnixTime(0)) {
        Verdict::Allow(grant) => Ok(grant.key_id.expect("the key has an id")),
        Verdict::Deny(denial) => Err(denial.reason()),
    };
    assert_eq!(decided, expected(&client_id, username, password).map(str::to_owned), "{client_id:?} {username:?}");
});
