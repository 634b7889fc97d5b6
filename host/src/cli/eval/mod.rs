//! `mqtt-gate eval`

use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use brokers::{Authorizer, Route};
use clap::Args;
use mqtt_gate::config::{Config, PolicyMode};
use mqtt_gate::decision::convert;
use mqtt_gate_engine::chain::{Condition, Facts};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{Credentials, Policy, Verdict};

use super::error::CliError;
use super::exit::Exit;
use super::output;
use super::policy_args::{PolicyArgs, component, load, read_component, sandbox};

mod credentials;
mod report;

use credentials::CredentialArgs;
use report::{Durations, EvalReport, Failure, PolicyReport};

/// Flags of `eval`.
#[derive(Args)]
#[command(after_help = "The policy is loaded in this process, as `serve` does. No gate has to run.

Examples:
  mqtt-gate mint | mqtt-gate eval policy.wasm
  mqtt-gate mint --count 3 | mqtt-gate eval policy.wasm --json
  mqtt-gate eval policy.wasm --config gate.toml --client-id operator --attribute listener=tls
  mqtt-gate eval policy.wasm --client-id … --username … --password-file secret.txt --json

Exit codes:
  0   the client is allowed; all of them, if there are several
  1   a client is denied, or no policy decides about it
  64  there is no valid login to evaluate, or the policy does not load
  70  the policy failed to return a verdict; a gate would deny the client")]
pub(crate) struct Eval {
    /// The component [default: all policies of the configuration in order, or the embedded policy]
    #[arg(value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    policy_args: PolicyArgs,
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Print one line of JSON for each login
    #[arg(long)]
    json: bool,
}

/// The policies to ask.
struct Policies {
    file: Option<PathBuf>,
    args: PolicyArgs,
}

impl Policies {
    /// The policy that is named, or the whole chain of the configuration without its monitors.
    fn load(&self, mut config: Config) -> Result<Vec<LoadedPolicy>, CliError> {
        let alone = |policy| vec![LoadedPolicy { name: None, when: Condition::default(), policy }];
        if let Some(file) = &self.file {
            return Ok(alone(self.args.load(config, &read_component(file)?)?));
        }
        if self.args.names_one() {
            let component = component(self.args.policy(&config)?)?;
            return Ok(alone(self.args.load(config, &component)?));
        }
        self.args.resolve(&mut config)?;
        let (chain, sandbox) = (self.args.chain(&config)?, sandbox(&config)?);
        let is_only = chain.others.is_empty();
        let mut policies = Vec::new();
        for policy in chain.iter().filter(|policy| policy.mode == PolicyMode::Enforce) {
            let loaded = component(policy).map_err(CliError::from).and_then(|it| load(&sandbox, policy, &it));
            let name = policy.name().filter(|_| !is_only);
            let loaded = loaded.map_err(|error| match name {
                Some(name) => error.context(format!("policy `{name}`")),
                None => error,
            })?;
            policies.push(LoadedPolicy { name, when: policy.when.clone(), policy: loaded });
        }
        Ok(policies)
    }
}

impl Eval {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let config = self.policy_args.config()?;
        let max_body = usize::try_from(config.limits.max_body.as_u64()).unwrap_or(usize::MAX);
        let policies = Policies { file: self.policy, args: self.policy_args };
        let logins = self.credentials.read(max_body)?;
        let policies = policies.load(config)?;
        let mut exit = Exit::Ok;
        for login in logins {
            let report = evaluate(&policies, &convert::credentials(login))?;
            output::print(&report, self.json)?;
            exit = worst(exit, report.exit());
        }
        Ok(exit)
    }
}

/// A policy in the order in which it is asked.
struct LoadedPolicy {
    /// Absent: the policy is the only one.
    name: Option<Name>,
    when: Condition,
    policy: Policy,
}

/// The exit code of several logins: that of a policy that failed, or else of a client that is denied.
fn worst(one: Exit, other: Exit) -> Exit {
    if one as u8 >= other as u8 { one } else { other }
}

/// Asks the policies in order, each twice, and reports the first verdict that is not *ignore*. The second call shows the
/// duration with a warm instance.
fn evaluate(policies: &[LoadedPolicy], credentials: &Credentials) -> Result<EvalReport> {
    let facts = Facts::from(credentials);
    let mut report = None;
    for LoadedPolicy { name, policy, .. } in policies.iter().filter(|it| it.when.includes(&facts)) {
        let call = || {
            let start = Instant::now();
            (policy.authenticate(credentials), start.elapsed())
        };
        let (verdict, first) = call();
        let second = verdict.is_ok().then(|| call().1);
        let is_ignored = matches!(verdict, Ok(Verdict::Ignore));
        let verdict = verdict
            .map_err(Failure::from)
            .and_then(|verdict| check_grant(verdict, Authorizer::exported(policy.has_authorizer())));
        report = Some(EvalReport::new(PolicyReport::new(*name, policy), verdict, Durations::new(first, second)));
        if !is_ignored {
            break;
        }
    }
    report.context("no policy is asked about this client: each has a condition that it does not fit; a gate denies it")
}

/// Rejects a grant that EMQX cannot be told, like a gate does.
fn check_grant(verdict: Verdict, authorizer: Authorizer) -> Result<Verdict, Failure> {
    if let Verdict::Allow(grant) = &verdict {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Route::MqttAuth.allow_login(&convert::grant(grant.clone()), authorizer, now)?;
    }
    Ok(verdict)
}
