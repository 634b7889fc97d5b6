//! `mqtt-gate check`

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::Args;
use mqtt_gate_engine::Policy;
use serde::Serialize;

use super::broker_check::{self, BrokerCheck};
use super::error::CliError;
use super::exit::Exit;
use super::output;
use super::policy_args::{PolicyArgs, read_component};

/// Flags of `check`.
#[derive(Args)]
#[command(
    after_help = "If [[broker]] of the configuration has an API of EMQX, it is called too, and problems of it are warnings.

Examples:
  mqtt-gate check policy.wasm --config /etc/mqtt-gate/gate.toml
  mqtt-gate check policy.wasm --json | jq -r .sha256

Exit codes:
  0   the gate would activate this policy
  64  the gate would reject it; standard error says why"
)]
pub(crate) struct Check {
    /// The component to check
    #[arg(value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    policy_args: PolicyArgs,
    /// Print one line of JSON, also for a policy that fails
    #[arg(long)]
    json: bool,
}

/// Output of `check`.
#[derive(Serialize)]
struct CheckReport<'a> {
    good: bool,
    name: Option<&'a str>,
    sha256: Option<String>,
    unused_settings: Vec<&'a str>,
    /// Settings whose value may be wrong, and why.
    doubtful_settings: BTreeMap<&'a str, &'static str>,
    has_authorizer: Option<bool>,
    /// APIs of the brokers in the configuration.
    brokers: &'a [BrokerCheck],
    problem: Option<String>,
}

impl Check {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let checked = self.check();
        if self.json || checked.is_ok() {
            output::print(&CheckReport::new(&checked), self.json)?;
        }
        checked.map(|_| Exit::Ok)
    }

    fn check(&self) -> Result<(Policy, Vec<BrokerCheck>), CliError> {
        let config = self.policy_args.config()?;
        let policy = self.policy_args.load(config.clone(), &read_component(&self.policy)?)?;
        Ok((policy, broker_check::check(config)?))
    }
}

impl<'a> CheckReport<'a> {
    fn new(result: &'a Result<(Policy, Vec<BrokerCheck>), CliError>) -> Self {
        let (policy, brokers) = result.as_ref().ok().map(|(policy, brokers)| (policy, brokers.as_slice())).unzip();
        Self {
            good: policy.is_some(),
            name: policy.map(Policy::name),
            sha256: policy.map(|policy| policy.digest().to_string()),
            unused_settings: policy.map(Policy::unused_settings).unwrap_or_default(),
            doubtful_settings: policy.map(|policy| policy.settings().doubts().collect()).unwrap_or_default(),
            has_authorizer: policy.map(Policy::has_authorizer),
            brokers: brokers.unwrap_or_default(),
            problem: result.as_ref().err().map(ToString::to_string),
        }
    }
}

impl fmt::Display for CheckReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (name, sha256) = (self.name.unwrap_or_default(), self.sha256.as_deref().unwrap_or_default());
        write!(f, "good: {name}, sha256 {sha256}")?;
        if !self.unused_settings.is_empty() {
            write!(f, "\nunused settings: {}", self.unused_settings.join(", "))?;
        }
        for (name, problem) in &self.doubtful_settings {
            write!(f, "\nwarning: the setting {name} {problem}")?;
        }
        self.brokers.iter().try_for_each(|broker| write!(f, "\n{broker}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_unused_settings_only_if_there_are_any() {
        let report = |unused_settings| CheckReport {
            good: true,
            name: Some("auth-core"),
            sha256: Some("00".to_owned()),
            unused_settings,
            doubtful_settings: BTreeMap::new(),
            has_authorizer: Some(true),
            brokers: &[],
            problem: None,
        };
        assert_eq!(report(vec![]).to_string(), "good: auth-core, sha256 00");
        assert_eq!(report(vec!["a", "b"]).to_string(), "good: auth-core, sha256 00\nunused settings: a, b");
    }

    #[test]
    fn json_of_a_failure_has_the_problem() {
        let report = serde_json::to_value(CheckReport::new(&Err(anyhow::anyhow!("not a component").into()))).unwrap();
        assert_eq!((&report["good"], &report["problem"]), (&false.into(), &"not a component".into()));
        assert!(report["name"].is_null() && report["has_authorizer"].is_null());
    }
}
