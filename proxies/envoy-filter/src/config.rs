//! The plugin's configuration, parsed and validated.
//!
//! ```json
//! { "mode": "mqtt", "cluster": "broker", "settings": { "signature-keys": "…" }, "limits": { "connect": 65536 } }
//! ```
//!
//! An unknown field is an error: it is a typo, and could have been a limit or a group. Errors name the field and never
//! contain its value. So this module does not show serde's messages, which quote the value.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use auth_core::Settings;
use brokers::DEFAULT_MAX_BODY;
use serde_json::{Map, Value};

/// The configuration of one filter, with valid settings of the policy.
pub struct Config {
    /// The kind of filter.
    pub mode: Mode,
    /// The settings of the policy.
    pub settings: Settings,
}

/// The kind of filter, from the field `mode`, with the fields of that kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `"http"`: an HTTP filter that answers the requests of brokers.
    Http {
        /// Maximum size of a request body, in bytes: `limits.body`.
        max_body: usize,
    },
    /// `"mqtt"`: a TCP filter that checks CONNECT packets.
    Mqtt {
        /// The cluster of the broker, for clients that are allowed: `cluster`.
        cluster: String,
        /// Maximum size of a CONNECT packet, in bytes: `limits.connect`.
        max_connect: usize,
        /// Time for a client to send its CONNECT packet, in seconds: `limits.connect-seconds`.
        connect_seconds: u64,
    },
}

/// An invalid configuration. Names the field, and never contains its value.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: String,
    problem: Cow<'static, str>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.field.escape_debug(), self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Parses the plugin's configuration.
    ///
    /// # Errors
    /// Returns the first field that is missing or invalid.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let json = serde_json::from_slice(text)
            .map_err(|_| error("configuration", "missing, or not JSON; write it as a `StringValue`"))?;
        let mut fields = Fields::of(json, "configuration", String::new())?;
        let mut limits = match fields.take("limits") {
            Some(limits) => Fields::of(limits, "limits", "limits.".to_owned())?,
            None => Fields::default(),
        };
        let mode = match fields.text("mode")?.as_deref() {
            Some("http") => Mode::Http { max_body: limits.size("body", DEFAULT_MAX_BODY)? },
            Some("mqtt") => Mode::Mqtt {
                cluster: fields
                    .text("cluster")?
                    .filter(|name| !name.is_empty())
                    .ok_or_else(|| error("cluster", "missing; set it to the name of the broker's cluster"))?,
                max_connect: limits.size("connect", DEFAULT_MAX_CONNECT)?,
                connect_seconds: limits
                    .number("connect-seconds", 1..=300, "not a whole number from 1 to 300")?
                    .unwrap_or(10),
            },
            _ => return Err(error("mode", "neither `http` nor `mqtt`; set it to one of them")),
        };
        let settings =
            fields.take("settings").ok_or_else(|| error("settings", "missing; add an object with `signature-keys`"))?;
        let settings = read_settings(Fields::of(settings, "settings", "settings.".to_owned())?)?;
        limits.finish()?;
        fields.finish()?;
        Ok(Self { mode, settings })
    }
}

/// Parses the settings of the policy. A setting that the policy does not read is an error, because this filter runs no
/// other policy.
fn read_settings(mut fields: Fields) -> Result<Settings, ConfigError> {
    let names: Vec<String> = fields.remaining.keys().cloned().collect();
    let mut texts = Vec::new();
    for name in names {
        let text = fields.text(&name)?;
        texts.push((name, text));
    }
    let known_names = RefCell::new(Vec::new());
    let settings = Settings::read(|name| {
        known_names.try_borrow_mut().ok()?.push(name.to_owned());
        texts.iter().find(|(known, _)| known == name).and_then(|(_, text)| text.clone())
    });
    let settings = settings.map_err(|invalid| error(&format!("settings.{}", invalid.name), invalid.problem))?;
    let known_names = known_names.into_inner();
    match texts.iter().find(|(name, _)| !known_names.contains(name)) {
        Some((name, _)) => Err(error(&format!("settings.{name}"), UNKNOWN)),
        None => Ok(settings),
    }
}

const UNKNOWN: &str = "not known; correct its name or remove it";

/// Valid limits, in bytes. Envoy buffers 1 MiB per connection by default.
const SIZE_RANGE: std::ops::RangeInclusive<u64> = 1_024..=1_048_576;

/// Default of `limits.connect`: far more than the longest valid credentials (about 5 KiB), so that a will fits too.
const DEFAULT_MAX_CONNECT: usize = 65_536;

/// The fields of a JSON object. Reading a field removes it.
#[derive(Default)]
struct Fields {
    prefix: String,
    remaining: Map<String, Value>,
}

impl Fields {
    fn of(value: Value, name: &str, prefix: String) -> Result<Self, ConfigError> {
        match value {
            Value::Object(remaining) => Ok(Self { prefix, remaining }),
            _ => Err(error(name, "not an object; write it as { … }")),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.remaining.remove(name)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, ConfigError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.error(name, "not text; put it in quotes")),
        }
    }

    fn size(&mut self, name: &str, default: usize) -> Result<usize, ConfigError> {
        let problem = "not a whole number of bytes from 1024 to 1048576";
        let Some(size) = self.number(name, SIZE_RANGE, problem)? else { return Ok(default) };
        usize::try_from(size).map_err(|_| self.error(name, problem))
    }

    fn number(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
        problem: &'static str,
    ) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_u64().filter(|number| range.contains(number)).map(Some).ok_or_else(|| self.error(name, problem))
    }

    /// Checks that every field has been read.
    fn finish(&self) -> Result<(), ConfigError> {
        match self.remaining.keys().next() {
            Some(name) => Err(self.error(name, UNKNOWN)),
            None => Ok(()),
        }
    }

    fn error(&self, name: &str, problem: &'static str) -> ConfigError {
        error(&format!("{}{name}", self.prefix), problem)
    }
}

fn error(field: &str, problem: impl Into<Cow<'static, str>>) -> ConfigError {
    ConfigError { field: field.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#""settings":{"signature-keys":"a key of more than 16 bytes"}"#;

    fn error_for(json: &str) -> String {
        Config::parse(json.as_bytes()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn mode(json: &str) -> Mode {
        Config::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{error}")).mode
    }

    #[test]
    fn parses_both_modes_with_defaults_and_limits() {
        assert_eq!(mode(&format!(r#"{{"mode":"http",{KEY}}}"#)), Mode::Http { max_body: 65_536 });
        let usual = Mode::Mqtt { cluster: "broker".into(), max_connect: 65_536, connect_seconds: 10 };
        assert_eq!(mode(&format!(r#"{{"mode":"mqtt","cluster":"broker",{KEY}}}"#)), usual);
        let limits = r#""limits":{"connect":4096,"connect-seconds":2}"#;
        let changed = Mode::Mqtt { cluster: "b".into(), max_connect: 4_096, connect_seconds: 2 };
        assert_eq!(mode(&format!(r#"{{"mode":"mqtt","cluster":"b",{limits},{KEY}}}"#)), changed);
    }

    #[test]
    fn error_names_the_field_and_never_shows_its_value() {
        for (json, expected) in [
            ("", "configuration: missing"),
            ("{\"gate\":\"secret", "configuration: missing, or not JSON"),
            ("[]", "configuration: not an object"),
            ("{}", "mode: "),
            (&format!(r#"{{"mode":"secret",{KEY}}}"#), "mode: "),
            (&format!(r#"{{"mode":1,{KEY}}}"#), "mode: not text"),
            (&format!(r#"{{"mode":"mqtt",{KEY}}}"#), "cluster: missing"),
            (&format!(r#"{{"mode":"mqtt","cluster":"",{KEY}}}"#), "cluster: missing"),
            (&format!(r#"{{"mode":"http","cluster":"secret",{KEY}}}"#), "cluster: not known"),
            (&format!(r#"{{"mode":"http","limit":"secret",{KEY}}}"#), "limit: not known"),
            (&format!(r#"{{"mode":"http","limits":"secret",{KEY}}}"#), "limits: not an object"),
            (&format!(r#"{{"mode":"http","limits":{{"body":"secret"}},{KEY}}}"#), "limits.body: not a whole"),
            (&format!(r#"{{"mode":"http","limits":{{"body":0}},{KEY}}}"#), "limits.body: not a whole"),
            (&format!(r#"{{"mode":"http","limits":{{"connect":4096}},{KEY}}}"#), "limits.connect: not known"),
            (r#"{"mode":"http"}"#, "settings: missing"),
            (r#"{"mode":"http","settings":{}}"#, "settings.signature-keys: missing"),
            (r#"{"mode":"http","settings":{"signature-keys":["secret"]}}"#, "settings.signature-keys: not text"),
            (r#"{"mode":"http","settings":{"signature-keys":"secret"}}"#, "settings.signature-keys: "),
            (
                r#"{"mode":"http","settings":{"signature-keys":"a key of more than 16 bytes","group":"secret"}}"#,
                "settings.group: not known",
            ),
        ] {
            let error = error_for(json);
            assert!(error.starts_with(expected) && !error.contains("secret"), "{json}: {error}");
        }
    }
}
