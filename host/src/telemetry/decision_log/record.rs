//! One line of the decision log.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use mqtt_gate_engine::util::file::read_file;
use mqtt_gate_engine::util::name::Name;
use serde::Serialize;
use sha2::Sha256;

use super::{DecisionLogError, MIN_SALT_BYTES};
use crate::config::ClientIdFormat;
use crate::decision::{Decision, DecisionCode, Operation, PolicyRef};

/// Longer than any client id that a broker accepts by default, and short enough for a line.
const MAX_CLIENT_ID_CHARS: usize = 512;

/// Characters that `client_id = "truncated"` keeps.
const TRUNCATED_CHARS: usize = 8;

/// Hexadecimal digits of a hashed client id: 128 bits.
const HASH_DIGITS: usize = 32;

/// Formats client ids.
pub(super) enum ClientIdFormatter {
    Plain,
    Truncated,
    /// A keyed hash. The same client id has the same hash for as long as the salt stays the same.
    Hashed(Box<Hmac<Sha256>>),
}

impl ClientIdFormatter {
    /// # Errors
    /// The salt cannot be read, or is too short.
    pub(super) fn new(format: ClientIdFormat, salt_file: Option<&Path>) -> Result<Self, DecisionLogError> {
        match format {
            ClientIdFormat::Plain => Ok(Self::Plain),
            ClientIdFormat::Truncated => Ok(Self::Truncated),
            ClientIdFormat::Hashed => {
                let salt = salt_file.map_or_else(random_salt, |path| {
                    read_file(path).map_err(|source| DecisionLogError::ReadSalt { path: path.to_owned(), source })
                })?;
                if salt.len() < MIN_SALT_BYTES {
                    return Err(DecisionLogError::ShortSalt);
                }
                let hmac =
                    Hmac::new_from_slice(&salt).map_err(|error| DecisionLogError::System(io::Error::other(error)))?;
                Ok(Self::Hashed(Box::new(hmac)))
            }
        }
    }

    fn format(&self, client_id: &str) -> String {
        match self {
            Self::Plain => truncate(client_id, MAX_CLIENT_ID_CHARS),
            Self::Truncated => truncate(client_id, TRUNCATED_CHARS),
            Self::Hashed(hmac) => {
                let hash = hmac.as_ref().clone().chain_update(client_id).finalize().into_bytes();
                hash.iter().take(HASH_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
            }
        }
    }
}

fn truncate(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn random_salt() -> Result<Vec<u8>, DecisionLogError> {
    let mut salt = vec![0; 32];
    getrandom::fill(&mut salt).map_err(|error| DecisionLogError::System(io::Error::other(error)))?;
    Ok(salt)
}

/// A decision in the queue.
pub(super) struct DecisionRecord {
    at: SystemTime,
    duration: Duration,
    operation: Operation,
    route: &'static str,
    client_id: ClientId,
    code: DecisionCode,
    detail: Option<String>,
    tenant: Option<Name>,
    policy: PolicyRef,
    key_id: Option<String>,
}

/// Client ids are formatted by the writing thread, except long ones, which would fill the memory with the queue.
enum ClientId {
    Raw(String),
    Formatted(String),
}

/// A line as it is written.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    id: u64,
    operation: &'static str,
    route: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'static str>,
    client_id: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    policy_name: &'static str,
    policy: String,
    generation: u64,
    duration_us: f64,
}

#[derive(Serialize)]
struct GapLine {
    time: String,
    dropped: u64,
}

impl DecisionRecord {
    pub(super) fn new(decision: &Decision, formatter: &ClientIdFormatter) -> Self {
        let client_id = if decision.client_id.len() > MAX_CLIENT_ID_CHARS {
            ClientId::Formatted(formatter.format(&decision.client_id))
        } else {
            ClientId::Raw(decision.client_id.clone())
        };
        Self {
            at: decision.at,
            duration: decision.duration,
            operation: decision.operation,
            route: decision.route.path(),
            client_id,
            code: decision.code,
            detail: decision.detail.clone(),
            tenant: decision.tenant,
            policy: decision.policy,
            key_id: decision.key_id.clone(),
        }
    }

    /// Encodes the line with number `id`.
    pub(super) fn encode(self, out: &mut impl Write, formatter: &ClientIdFormatter, id: u64) -> io::Result<()> {
        let client_id = match self.client_id {
            ClientId::Raw(client_id) => formatter.format(&client_id),
            ClientId::Formatted(client_id) => client_id,
        };
        let line = Line {
            time: rfc3339(self.at),
            id,
            operation: self.operation.name(),
            route: self.route,
            tenant: self.tenant.map(Name::as_str),
            client_id: &client_id,
            verdict: self.code.verdict(),
            reason: self.code.reason(),
            detail: self.detail.as_deref(),
            key: self.key_id.as_deref(),
            policy_name: self.policy.name.as_str(),
            policy: self.policy.digest.to_string(),
            generation: self.policy.generation,
            // Microseconds with one decimal.
            duration_us: (self.duration.as_secs_f64() * 1e7).round() / 10.0,
        };
        encode_line(out, &line)
    }
}

/// Encodes a line that reports missing lines.
pub(super) fn encode_gap(out: &mut impl Write, now: SystemTime, dropped: u64) -> io::Result<()> {
    encode_line(out, &GapLine { time: rfc3339(now), dropped })
}

fn encode_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Formats a time. Times before 1970 become 1970.
fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time.max(SystemTime::UNIX_EPOCH)).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::telemetry::tests::decision;

    fn line(decision: &Decision) -> String {
        let mut line = Vec::new();
        DecisionRecord::new(decision, &ClientIdFormatter::Plain)
            .encode(&mut line, &ClientIdFormatter::Plain, 7)
            .unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_has_the_documented_fields() {
        let mut allowed = decision(DecisionCode::Allow);
        allowed.key_id = Some("2026-11".to_owned());
        let policy = allowed.policy.digest;
        let expected = format!(
            "{{\"time\":\"1970-01-12T13:46:40.000000Z\",\"id\":7,\"operation\":\"authenticate\",\
             \"route\":\"/emqx/auth\",\"client_id\":\"c\",\"verdict\":\"allow\",\"key\":\"2026-11\",\
             \"policy_name\":\"policy\",\"policy\":\"{policy}\",\"generation\":3,\"duration_us\":3.2}}\n"
        );
        assert_eq!(line(&allowed), expected);
        let denied = line(&decision(DecisionCode::Banned));
        assert!(
            denied.contains("\"verdict\":\"deny\",\"reason\":\"banned\",\"policy_name\"") && !denied.contains("key")
        );
        let detailed = line(&Decision { detail: Some("stolen-device".to_owned()), ..decision(DecisionCode::Banned) });
        assert!(detailed.contains("\"reason\":\"banned\",\"detail\":\"stolen-device\",\"policy_name\""), "{detailed}");
    }

    #[test]
    fn a_client_id_cannot_start_a_line() {
        let mut odd = decision(DecisionCode::Allow);
        odd.client_id = "ev\nil\u{1b}\"".to_owned();
        let line = line(&odd);
        assert!(line.contains("\"client_id\":\"ev\\nil\\u001b\\\"\"") && line.matches('\n').count() == 1, "{line}");
    }

    #[test]
    fn a_gap_line_has_the_number_of_dropped_decisions() {
        let mut line = Vec::new();
        encode_gap(&mut line, SystemTime::UNIX_EPOCH, 5).unwrap();
        assert_eq!(line, b"{\"time\":\"1970-01-01T00:00:00.000000Z\",\"dropped\":5}\n");
    }

    #[test]
    fn client_ids_are_plain_truncated_or_hashed() {
        let directory = TempDir::new().unwrap();
        let salt = directory.path().join("salt");
        fs::write(&salt, "a salt that stays").unwrap();
        let format = |format, client_id: &str| ClientIdFormatter::new(format, Some(&salt)).unwrap().format(client_id);
        assert_eq!(format(ClientIdFormat::Plain, "some-client"), "some-client");
        assert_eq!(format(ClientIdFormat::Plain, &"ü".repeat(600)), format!("{}…", "ü".repeat(512)));
        assert_eq!(format(ClientIdFormat::Truncated, "some-client"), "some-cli…");
        assert_eq!(format(ClientIdFormat::Truncated, "12345678"), "12345678");
        let hash = format(ClientIdFormat::Hashed, "some-client");
        assert_eq!((hash.len(), &hash), (32, &format(ClientIdFormat::Hashed, "some-client")));
        assert_ne!(hash, format(ClientIdFormat::Hashed, "some-clienu"));
    }

    #[test]
    fn long_client_ids_are_formatted_before_they_are_queued() {
        let mut long = decision(DecisionCode::Allow);
        long.client_id = "x".repeat(100_000);
        let record = DecisionRecord::new(&long, &ClientIdFormatter::Truncated);
        assert!(matches!(record.client_id, ClientId::Formatted(id) if id == "xxxxxxxx…"));
    }

    #[test]
    fn the_salt_is_random_unless_a_file_has_it() {
        let hash = |salt: Option<&Path>| ClientIdFormatter::new(ClientIdFormat::Hashed, salt).map(|it| it.format("c"));
        assert_ne!(hash(None).unwrap(), hash(None).unwrap());
        let directory = TempDir::new().unwrap();
        let short = directory.path().join("short");
        fs::write(&short, "15 bytes salt..").unwrap();
        assert!(matches!(hash(Some(&short)), Err(DecisionLogError::ShortSalt)));
        let missing = hash(Some(Path::new("/nowhere/salt"))).unwrap_err().to_string();
        assert!(missing.starts_with("decision_log.salt_file: cannot read"), "{missing}");
    }
}
