//! `mqtt-gate check`

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use mqtt_gate::config::{PolicyConfig, PolicyMode};
use mqtt_gate_engine::Policy;
use mqtt_gate_engine::util::name::Name;
use serde::Serialize;

use super::broker_check::{self, Authorizers, BrokerCheck};
use super::description::DescriptionReport;
use super::error::CliError;
use super::exit::Exit;
use super::output;
use super::policy_args::{PolicyArgs, component, load, read_component, sandbox};

/// Flags of `check`.
#[derive(Args)]
#[command(
    after_help = "If [[broker]] of the configuration has an API of EMQX, it is called too, and problems of it are warnings.

Examples:
  mqtt-gate check policy.wasm --config /etc/mqtt-gate/gate.toml
  mqtt-gate check policy.wasm --json | jq -r .sha256
  mqtt-gate check revoked.wasm --config gate.toml --name revoked
  mqtt-gate check --config gate.toml           check the whole configuration

Exit codes:
  0   the gate would activate this policy
  64  the gate would reject it; standard error says why"
)]
pub(crate) struct Check {
    /// The component to check [default: every policy of the configuration, those of tenants too]
    #[arg(value_name = "FILE")]
    policy: Option<PathBuf>,
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
    /// The description that the policy gives of itself; `null`: none.
    description: Option<DescriptionReport<'a>>,
    /// APIs of the brokers in the configuration.
    brokers: &'a [BrokerCheck],
    problem: Option<String>,
}

impl Check {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let Some(file) = &self.policy else { return self.check_all() };
        let checked = self.check(file);
        if self.json || checked.is_ok() {
            output::print(&CheckReport::new(&checked), self.json)?;
        }
        checked.map(|_| Exit::Ok)
    }

    /// Checks every policy of the configuration, as `serve` loads it.
    fn check_all(&self) -> Result<Exit, CliError> {
        let mut config = self.policy_args.config()?;
        self.policy_args.resolve(&mut config)?;
        let sandbox = sandbox(&config)?;
        let tenants = config.tenant.0.iter().map(|(name, tenant)| (Some(*name), &tenant.policy));
        let (mut reports, mut authorizers) = (Vec::new(), Authorizers::new());
        for (tenant, chain) in std::iter::once((None, &config.policy)).chain(tenants) {
            for policy in chain.iter() {
                let label = MemberLabel { tenant, name: policy.name() };
                let loaded = component(policy).map_err(CliError::from).and_then(|it| load(&sandbox, policy, &it));
                let loaded = loaded.map_err(|error| error.context(label.to_string()))?;
                if policy.mode == PolicyMode::Enforce {
                    let name = policy.name().unwrap_or(Name::none());
                    authorizers.entry(tenant).or_default().push((name, loaded.has_authorizer()));
                }
                reports.push(MemberReport::new(&label, policy, &loaded));
            }
        }
        let report =
            ConfigReport { good: true, policies: reports, brokers: broker_check::check(config, &authorizers)? };
        output::print(&report, self.json)?;
        Ok(Exit::Ok)
    }

    fn check(&self, file: &Path) -> Result<(Policy, Vec<BrokerCheck>), CliError> {
        let config = self.policy_args.config()?;
        let policy = self.policy_args.load(config.clone(), &read_component(file)?)?;
        // Of several policies, this is one.
        let is_only = config.policy.others.is_empty() && self.policy_args.tenant().is_none();
        let name = config.policy.first.name().unwrap_or(Name::none());
        let authorizers = is_only.then(|| (None, vec![(name, policy.has_authorizer())])).into_iter().collect();
        let brokers = broker_check::check(config, &authorizers)?;
        Ok((policy, brokers))
    }
}

/// Tells policies apart in texts.
struct MemberLabel {
    tenant: Option<Name>,
    name: Option<Name>,
}

impl fmt::Display for MemberLabel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let Some(tenant) = self.tenant {
            write!(f, "tenant `{tenant}`, ")?;
        }
        write!(f, "policy `{}`", self.name.unwrap_or(Name::none()))
    }
}

/// Output of `check` about a whole configuration.
#[derive(Serialize)]
struct ConfigReport {
    good: bool,
    policies: Vec<MemberReport>,
    brokers: Vec<BrokerCheck>,
}

/// A policy of the configuration.
#[derive(Serialize)]
struct MemberReport {
    #[serde(skip)]
    label: String,
    tenant: Option<&'static str>,
    member: Option<&'static str>,
    name: String,
    sha256: String,
    has_authorizer: bool,
    unused_settings: Vec<String>,
    warnings: Vec<String>,
}

impl MemberReport {
    fn new(label: &MemberLabel, config: &PolicyConfig, policy: &Policy) -> Self {
        let keys: Vec<_> = config.when.uncertain_keys().map(|key| format!("when.{key}")).collect();
        let uncertain = (!keys.is_empty()).then(|| {
            let keys = keys.join(", ");
            format!("{keys}: a request that does not tell this fact is put to the policy; publish and subscribe checks may not")
        });
        let doubts = policy.settings().doubts().map(|(name, problem)| format!("the setting {name} {problem}"));
        let is_alone = config.when.is_empty() || policy.has_authorizer();
        let no_authorizer = (!is_alone).then(|| {
            "the policy has no authorizer, so it denies no publish or subscribe of the clients that it is asked about".to_owned()
        });
        Self {
            label: label.to_string(),
            tenant: label.tenant.map(Name::as_str),
            member: label.name.map(Name::as_str),
            name: policy.name().to_owned(),
            sha256: policy.digest().to_string(),
            has_authorizer: policy.has_authorizer(),
            unused_settings: policy.unused_settings().into_iter().map(str::to_owned).collect(),
            warnings: doubts.chain(uncertain).chain(no_authorizer).collect(),
        }
    }
}

impl fmt::Display for ConfigReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (index, policy) in self.policies.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}good: {}: {}, sha256 {}", policy.label, policy.name, policy.sha256)?;
            if !policy.unused_settings.is_empty() {
                write!(f, "\n  unused settings: {}", policy.unused_settings.join(", "))?;
            }
            policy.warnings.iter().try_for_each(|warning| write!(f, "\n  warning: {warning}"))?;
        }
        self.brokers.iter().try_for_each(|broker| write!(f, "\n{broker}"))
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
            description: policy.and_then(Policy::description).map(Into::into),
            brokers: brokers.unwrap_or_default(),
            problem: result.as_ref().err().map(ToString::to_string),
        }
    }
}

impl fmt::Display for CheckReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (name, sha256) = (self.name.unwrap_or_default(), self.sha256.as_deref().unwrap_or_default());
        write!(f, "good: {name}, sha256 {sha256}")?;
        if let Some(description) = &self.description {
            write!(f, "\n{description}")?;
        }
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
            description: None,
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
