//! What `swap` and `rollback` have in common: which gate, which file, and what is told of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use mqtt_gate::config::Config;
use mqtt_gate::policy::Digest;
use serde::Serialize;

use super::admin::{Admin, AdminArgs};
use super::change::{Change, Changed, Outcome};
use super::exit::Exit;
use super::place::Place;
use super::show;
use super::state::Serving;
use super::status;
use super::with::{With, component};

/// The gate whose policy is to change.
#[derive(Args)]
pub(crate) struct Swapping {
    #[command(flatten)]
    with: With,
    /// The file that the gate watches [default: that of the configuration]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
    /// How long the gate may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// A gate, and the place of its file.
pub(crate) struct Ready {
    swapping: Swapping,
    config: Config,
    place: Place,
    admin: Admin,
}

/// The gate was given a policy, and does not serve it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotTaken(String);

/// What is printed.
#[derive(Serialize)]
struct Report<'a> {
    /// `serves`, `served-already`, `refused` or `not-seen`.
    outcome: &'static str,
    reason: Option<&'a str>,
    file: String,
    before: &'a Serving,
    after: &'a Serving,
    previous: Option<Previous>,
    milliseconds: u128,
}

/// The file that a rollback would put back.
#[derive(Serialize)]
struct Previous {
    file: String,
    sha256: String,
}

impl Swapping {
    /// Finds out what is meant. Touches nothing.
    pub(crate) fn prepare(self) -> Result<Ready> {
        let config = self.with.read()?;
        let watched = self.policy.clone().or_else(|| config.policy.file.clone()).context(
            "which file does the gate watch? give its --config, with policy.file in it, or --policy; \
             the policy within the program cannot be swapped",
        )?;
        let place = Place::hold(watched)?;
        let admin = self.admin.admin(Some(&config))?;
        Ok(Ready { swapping: self, config, place, admin })
    }
}

impl Ready {
    pub(crate) fn previous(&self) -> &Path {
        self.place.previous()
    }

    /// Puts this component in service.
    pub(crate) fn swap(self, path: &Path) -> Result<Exit> {
        let component = component(path)?;
        let refused = || format!("{} fails its check, and nothing was touched", path.display());
        self.swapping.with.load(self.config.clone(), &component).with_context(refused)?;
        let began = Instant::now();
        let change = Change { admin: &self.admin, place: &self.place, patience: self.swapping.timeout };
        let changed = change.make(&component)?;
        let complaint = self.complaint(&changed.outcome);
        let report = self.report(&changed, began.elapsed());
        if self.swapping.json {
            show::json(&report)?;
        } else if complaint.is_none() {
            show::text(report.lines())?;
        }
        complaint.map_or(Ok(Exit::Yes), |complaint| Err(NotTaken(complaint).into()))
    }

    fn report<'a>(&self, changed: &'a Changed, took: Duration) -> Report<'a> {
        let Changed { before, after, outcome } = changed;
        let previous =
            |kept: &Digest| Previous { file: self.previous().display().to_string(), sha256: kept.to_string() };
        let (outcome, reason, previous) = match outcome {
            Outcome::Serves { kept } => ("serves", None, kept.as_ref().map(previous)),
            Outcome::ServedAlready => ("served-already", None, None),
            Outcome::Refused(reason) | Outcome::RefusedAlready(reason) => ("refused", Some(reason.as_str()), None),
            Outcome::NotSeen => ("not-seen", None, None),
        };
        Report { outcome, reason, file: self.file(), before, after, previous, milliseconds: took.as_millis() }
    }

    /// Why it does not serve, unless it does.
    fn complaint(&self, outcome: &Outcome) -> Option<String> {
        let (file, url, timeout) = (self.file(), self.admin.url(), humantime::format_duration(self.swapping.timeout));
        match outcome {
            Outcome::Serves { .. } | Outcome::ServedAlready => None,
            Outcome::Refused(reason) => {
                Some(format!("the gate does not take it: {}; {file} is again what it was", show::tame(reason)))
            }
            Outcome::RefusedAlready(reason) => {
                Some(format!("the gate does not take it: {}; it lay in {file} already", show::tame(reason)))
            }
            Outcome::NotSeen => Some(format!(
                "{url} does not tell of it within {timeout}: the gate may watch another file, or be slow (--timeout); \
                 {file} is again what it was"
            )),
        }
    }

    fn file(&self) -> String {
        self.place.file().display().to_string()
    }
}

impl Report<'_> {
    fn lines(&self) -> String {
        if self.outcome == "served-already" {
            return format!("serves already: {}", status::serving(self.after));
        }
        let mut lines = vec![
            format!("before  {}", status::serving(self.before)),
            format!("after   {}, after {} ms", status::serving(self.after), self.milliseconds),
        ];
        lines.push(match &self.previous {
            Some(previous) => format!("kept    {}; `mqtt-gate rollback` puts it back", previous.file),
            None => format!("kept    nothing: what served before did not lie in {}", self.file),
        });
        lines.join("\n")
    }
}
