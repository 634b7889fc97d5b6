//! One line of the decision log.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use super::{DecisionLogError, LEAST_SALT};
use crate::config::ShownId;
use crate::decision::{Asked, Decision};
use crate::decision::evaluate::By;
use crate::decision::code::Ruling;
use mqtt_gate_engine::util::file::read_file;

/// The most characters of a client id that are written down.
const MOST_SHOWN: usize = 512;

/// So many characters are left of one that is cut.
const LEFT: usize = 8;

/// How client ids are shown.
pub(super) enum Shown {
    Plain,
    Cut,
    /// By their keyed digests: the same client has the same one for as long as the salt is the same.
    Hashed(Box<Hmac<Sha256>>),
}

impl Shown {
    /// # Errors
    /// The salt cannot be had.
    pub(super) fn new(shown: ShownId, salt: Option<&Path>) -> Result<Self, DecisionLogError> {
        Ok(match shown {
            ShownId::Plain => Self::Plain,
            ShownId::Cut => Self::Cut,
            ShownId::Hashed => {
                let salt = salt.map_or_else(random_salt, |path| {
                    read_file(path).map_err(|source| DecisionLogError::Salt { path: path.to_owned(), source })
                })?;
                if salt.len() < LEAST_SALT {
                    return Err(DecisionLogError::ShortSalt);
                }
                let keyed =
                    Hmac::new_from_slice(&salt).map_err(|_| DecisionLogError::System(io::Error::other("no salt")))?;
                Self::Hashed(Box::new(keyed))
            }
        })
    }

    fn of(&self, client_id: &str) -> String {
        let begin = |most| match client_id.char_indices().nth(most) {
            Some((end, _)) => format!("{}…", client_id.get(..end).unwrap_or_default()),
            None => client_id.to_owned(),
        };
        match self {
            Self::Plain => begin(MOST_SHOWN),
            Self::Cut => begin(LEFT),
            Self::Hashed(keyed) => {
                let digest = keyed.as_ref().clone().chain_update(client_id).finalize().into_bytes();
                digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
            }
        }
    }
}

fn random_salt() -> Result<Vec<u8>, DecisionLogError> {
    let mut salt = vec![0; 32];
    getrandom::fill(&mut salt).map_err(|error| DecisionLogError::System(io::Error::other(error.to_string())))?;
    Ok(salt)
}

/// A decision, on its way to the log.
pub(super) struct Line {
    at: SystemTime,
    took: Duration,
    asked: Asked,
    route: &'static str,
    client_id: String,
    /// Whether the client id is shown already: a long one does not wait here in full.
    is_shown: bool,
    ruling: Ruling,
    by: By,
    key_id: Option<String>,
}

/// A line as it is written.
#[derive(Serialize)]
struct Written<'a> {
    time: String,
    id: u64,
    asked: &'static str,
    route: &'static str,
    client_id: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    policy: String,
    generation: u64,
    took_us: f64,
}

#[derive(Serialize)]
struct Lost {
    time: String,
    lost: u64,
}

impl Line {
    pub(super) fn of(decision: &Decision, shown: &Shown) -> Self {
        let is_shown = decision.client_id.len() > MOST_SHOWN;
        Self {
            at: decision.at,
            took: decision.took,
            asked: decision.asked,
            route: decision.route.path(),
            client_id: if is_shown { shown.of(decision.client_id) } else { decision.client_id.to_owned() },
            is_shown,
            ruling: decision.ruling,
            by: decision.by,
            key_id: decision.key_id.map(str::to_owned),
        }
    }

    /// Writes it, as the one of this number.
    pub(super) fn write(&self, out: &mut impl Write, shown: &Shown, id: u64) -> io::Result<()> {
        let written = Written {
            time: time(self.at),
            id,
            asked: self.asked.name(),
            route: self.route,
            client_id: &if self.is_shown { self.client_id.clone() } else { shown.of(&self.client_id) },
            verdict: self.ruling.verdict(),
            reason: self.ruling.reason(),
            key: self.key_id.as_deref(),
            policy: self.by.digest.to_string(),
            generation: self.by.generation,
            took_us: (self.took.as_secs_f64() * 1e7).round() / 10.0,
        };
        write_line(out, &written)
    }
}

/// Says that so many decisions have no line.
pub(super) fn write_lost(out: &mut impl Write, lost: u64) -> io::Result<()> {
    write_line(out, &Lost { time: time(SystemTime::now()), lost })
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// A clock before 1970 is at its beginning.
fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_micros(at.max(SystemTime::UNIX_EPOCH)).to_string()
}
