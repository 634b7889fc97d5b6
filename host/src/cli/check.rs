//! `mqtt-gate check`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use mqtt_gate::one_line;
use mqtt_gate::policy::Policy;
use serde::Serialize;

use super::exit::Exit;
use super::show;
use super::with::{With, component};

/// The flags of `check`.
#[derive(Args)]
#[command(after_help = "Examples:
  mqtt-gate check policy.wasm --config /etc/mqtt-gate/gate.toml
  mqtt-gate check policy.wasm --json | jq -r .sha256

Exit codes:
  0   it would serve
  64  it would not; standard error says why")]
pub(crate) struct Check {
    /// The component
    #[arg(value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    with: With,
    /// Print one line of JSON, for a bad policy too
    #[arg(long)]
    json: bool,
}

/// What is printed of a policy that would serve, or of one that would not.
#[derive(Serialize)]
struct Checked<'a> {
    good: bool,
    name: Option<&'a str>,
    sha256: Option<String>,
    settings_not_read: Vec<&'a str>,
    answers_for_actions: Option<bool>,
    problem: Option<String>,
}

impl Check {
    pub(crate) fn run(self) -> Result<Exit> {
        match self.load() {
            Ok(policy) => {
                let good = Checked::good(&policy);
                if self.json {
                    show::json(&good)?
                } else {
                    show::text(good.lines())?
                }
                Ok(Exit::Yes)
            }
            Err(error) => {
                if self.json {
                    show::json(&Checked::bad(&error))?;
                }
                Err(error)
            }
        }
    }

    fn load(&self) -> Result<Policy> {
        self.with.load(self.with.read()?, &component(&self.policy)?)
    }
}

impl<'a> Checked<'a> {
    fn good(policy: &'a Policy) -> Self {
        Self {
            good: true,
            name: Some(policy.name()),
            sha256: Some(policy.digest().to_string()),
            settings_not_read: policy.unread_settings(),
            answers_for_actions: Some(policy.can_authorize()),
            problem: None,
        }
    }

    fn bad(error: &anyhow::Error) -> Self {
        Self {
            good: false,
            name: None,
            sha256: None,
            settings_not_read: Vec::new(),
            answers_for_actions: None,
            problem: Some(sanitize::chain(error.as_ref())),
        }
    }

    fn lines(&self) -> String {
        let mut lines =
            format!("good: {}, sha256 {}", self.name.unwrap_or_default(), self.sha256.as_deref().unwrap_or_default());
        if !self.settings_not_read.is_empty() {
            lines.push_str("\nsettings that it does not read: ");
            lines.push_str(&self.settings_not_read.join(", "));
        }
        lines
    }
}
