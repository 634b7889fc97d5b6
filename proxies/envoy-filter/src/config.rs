//! What the operator wrote into the plugin's configuration, parsed and judged.
//!
//! ```json
//! { "gate": "mqtt", "cluster": "broker", "settings": { "signature-keys": "…" }, "limits": { "connect": 65536 } }
//! ```
//!
//! Nothing that is not known is passed over: it is a slip, and might have been a limit or a group. What is wrong is told by
//! its name and never by its value, so nothing here uses serde's own messages, which quote what they found.

use std::cell::RefCell;
use std::fmt;

use auth_core::Settings;
use serde_json::{Map, Value};

/// The configuration of one filter. There is none without settings that the policy can work with.
pub struct Config {
    /// What the filter is.
    pub gate: Gate,
    /// The settings of the policy.
    pub settings: Settings,
}

/// What the filter is, by the member `gate`, with what is said for that alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `"http"`: an HTTP filter that answers brokers.
    Http {
        /// The most bytes of a body: `limits.body`.
        body: usize,
    },
    /// `"mqtt"`: a TCP filter that reads CONNECT.
    Mqtt {
        /// Where those go who are let in: `cluster`.
        cluster: String,
        /// The most bytes of a CONNECT: `limits.connect`.
        connect: usize,
        /// The time that a client has for its CONNECT, in seconds: `limits.connect-seconds`.
        seconds: u64,
    },
}

/// What is wrong with a configuration. Names the member, and never tells its value.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    member: String,
    problem: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.member.escape_debug(), self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the plugin's configuration.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let json = serde_json::from_slice(text).map_err(|_| error("configuration", "missing, or not JSON"))?;
        let mut members = Members::of(json, "configuration", String::new())?;
        let mut limits = match members.take("limits") {
            Some(limits) => Members::of(limits, "limits", "limits.".to_owned())?,
            None => Members::default(),
        };
        let gate = match members.text("gate")?.as_deref() {
            Some("http") => Gate::Http { body: limits.size("body")? },
            Some("mqtt") => Gate::Mqtt {
                cluster: members.text("cluster")?.filter(|name| !name.is_empty()).ok_or_else(|| {
                    error("cluster", "missing; name the cluster of the broker, where those go who are let in")
                })?,
                connect: limits.size("connect")?,
                seconds: limits.number("connect-seconds", 1..=300, "not a whole number from 1 to 300")?.unwrap_or(10),
            },
            _ => return Err(error("gate", "neither `http` nor `mqtt`")),
        };
        let settings = members.take("settings").ok_or_else(|| error("settings", "missing"))?;
        let settings = read_settings(Members::of(settings, "settings", "settings.".to_owned())?)?;
        limits.end()?;
        members.end()?;
        Ok(Self { gate, settings })
    }
}

/// The settings of the policy; those that it does not ask for are slips, because no other policy could be served here.
fn read_settings(mut members: Members) -> Result<Settings, ConfigError> {
    let names: Vec<String> = members.members.keys().cloned().collect();
    let mut texts = Vec::new();
    for name in names {
        let text = members.text(&name)?;
        texts.push((name, text));
    }
    let asked = RefCell::new(Vec::new());
    let settings = Settings::read(|name| {
        asked.try_borrow_mut().ok()?.push(name.to_owned());
        texts.iter().find(|(known, _)| known == name).and_then(|(_, text)| text.clone())
    });
    let settings = settings.map_err(|wrong| error(&format!("settings.{}", wrong.name), wrong.problem))?;
    let asked = asked.into_inner();
    match texts.iter().find(|(name, _)| !asked.contains(name)) {
        Some((name, _)) => Err(error(&format!("settings.{name}"), NOT_KNOWN)),
        None => Ok(settings),
    }
}

const NOT_KNOWN: &str = "not known";

/// The sizes that a limit can have, in bytes. Envoy keeps 1 MiB for a connection unless it is told otherwise.
const SIZES: std::ops::RangeInclusive<u64> = 1_024..=1_048_576;
const USUAL_SIZE: u64 = 65_536;

/// The members of an object, taken out as they are read.
#[derive(Default)]
struct Members {
    within: String,
    members: Map<String, Value>,
}

impl Members {
    fn of(value: Value, name: &str, within: String) -> Result<Self, ConfigError> {
        match value {
            Value::Object(members) => Ok(Self { within, members }),
            _ => Err(error(name, "not an object")),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, ConfigError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "not text; put it in quotes")),
        }
    }

    fn size(&mut self, name: &str) -> Result<usize, ConfigError> {
        let problem = "not a whole number of bytes from 1024 to 1048576";
        let size = self.number(name, SIZES, problem)?.unwrap_or(USUAL_SIZE);
        usize::try_from(size).map_err(|_| self.wrong(name, problem))
    }

    fn number(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
        problem: &'static str,
    ) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_u64().filter(|number| range.contains(number)).map(Some).ok_or_else(|| self.wrong(name, problem))
    }

    /// Nothing is left that was not read.
    fn end(&self) -> Result<(), ConfigError> {
        match self.members.keys().next() {
            Some(name) => Err(self.wrong(name, NOT_KNOWN)),
            None => Ok(()),
        }
    }

    fn wrong(&self, name: &str, problem: &'static str) -> ConfigError {
        error(&format!("{}{name}", self.within), problem)
    }
}

fn error(member: &str, problem: &'static str) -> ConfigError {
    ConfigError { member: member.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#""settings":{"signature-keys":"a key of more than 16 bytes"}"#;

    fn complaint(json: &str) -> String {
        Config::parse(json.as_bytes()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn gate(json: &str) -> Gate {
        Config::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{error}")).gate
    }

    #[test]
    fn the_gate_is_one_of_two() {
        assert_eq!(gate(&format!(r#"{{"gate":"http",{KEY}}}"#)), Gate::Http { body: 65_536 });
        let usual = Gate::Mqtt { cluster: "broker".into(), connect: 65_536, seconds: 10 };
        assert_eq!(gate(&format!(r#"{{"gate":"mqtt","cluster":"broker",{KEY}}}"#)), usual);
        let limits = r#""limits":{"connect":4096,"connect-seconds":2}"#;
        let changed = Gate::Mqtt { cluster: "b".into(), connect: 4_096, seconds: 2 };
        assert_eq!(gate(&format!(r#"{{"gate":"mqtt","cluster":"b",{limits},{KEY}}}"#)), changed);
    }

    #[test]
    fn what_is_wrong_is_named_and_not_shown() {
        for (json, named) in [
            ("", "configuration: missing"),
            ("{\"gate\":\"secret", "configuration: missing, or not JSON"),
            ("[]", "configuration: not an object"),
            ("{}", "gate: "),
            (&format!(r#"{{"gate":"secret",{KEY}}}"#), "gate: "),
            (&format!(r#"{{"gate":1,{KEY}}}"#), "gate: not text"),
            (&format!(r#"{{"gate":"mqtt",{KEY}}}"#), "cluster: missing"),
            (&format!(r#"{{"gate":"mqtt","cluster":"",{KEY}}}"#), "cluster: missing"),
            (&format!(r#"{{"gate":"http","cluster":"secret",{KEY}}}"#), "cluster: not known"),
            (&format!(r#"{{"gate":"http","limit":"secret",{KEY}}}"#), "limit: not known"),
            (&format!(r#"{{"gate":"http","limits":"secret",{KEY}}}"#), "limits: not an object"),
            (&format!(r#"{{"gate":"http","limits":{{"body":"secret"}},{KEY}}}"#), "limits.body: not a whole"),
            (&format!(r#"{{"gate":"http","limits":{{"body":0}},{KEY}}}"#), "limits.body: not a whole"),
            (&format!(r#"{{"gate":"http","limits":{{"connect":4096}},{KEY}}}"#), "limits.connect: not known"),
            (r#"{"gate":"http"}"#, "settings: missing"),
            (r#"{"gate":"http","settings":{}}"#, "settings.signature-keys: missing"),
            (r#"{"gate":"http","settings":{"signature-keys":["secret"]}}"#, "settings.signature-keys: not text"),
            (r#"{"gate":"http","settings":{"signature-keys":"secret"}}"#, "settings.signature-keys: "),
            (
                r#"{"gate":"http","settings":{"signature-keys":"a key of more than 16 bytes","group":"secret"}}"#,
                "settings.group: not known",
            ),
        ] {
            let said = complaint(json);
            assert!(said.starts_with(named) && !said.contains("secret"), "{json}: {said}");
        }
    }
}
