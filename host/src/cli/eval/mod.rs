//! `mqtt-gate eval`

use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use brokers::{Authorizer, Route};
use clap::Args;
use mqtt_gate::DEFAULT_POLICY;
use mqtt_gate::decision::convert;
use mqtt_gate_engine::{Credentials, Policy, Verdict};

use super::error::CliError;
use super::exit::Exit;
use super::output;
use super::policy_args::{PolicyArgs, read_component};

mod credentials;
mod report;

use credentials::CredentialArgs;
use report::{Durations, EvalReport, Failure};

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
  1   a client is denied, or left to another authenticator of the broker
  64  there is no valid login to evaluate, or the policy does not load
  70  the policy failed to return a verdict; a gate would deny the client")]
pub(crate) struct Eval {
    /// The component [default: that of the configuration, or the embedded policy]
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

impl Eval {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let config = self.policy_args.config()?;
        let max_body = usize::try_from(config.limits.max_body.as_u64()).unwrap_or(usize::MAX);
        let logins = self.credentials.read(max_body)?;
        let policy = match self.policy.as_ref().or(config.policy.file.as_ref()) {
            Some(file) => self.policy_args.load(config.clone(), &read_component(file)?)?,
            None => self.policy_args.load(config, DEFAULT_POLICY)?,
        };
        let mut exit = Exit::Ok;
        for login in logins {
            let report = evaluate(&policy, &convert::credentials(login));
            output::print(&report, self.json)?;
            exit = worst(exit, report.exit());
        }
        Ok(exit)
    }
}

/// The exit code of several logins: that of a policy that failed, or else of a client that is denied.
fn worst(one: Exit, other: Exit) -> Exit {
    if one as u8 >= other as u8 { one } else { other }
}

/// Evaluates a login twice, and reports the first verdict. The second call shows the duration with a warm instance.
fn evaluate(policy: &Policy, credentials: &Credentials) -> EvalReport {
    let call = || {
        let start = Instant::now();
        (policy.authenticate(credentials), start.elapsed())
    };
    let (verdict, first) = call();
    let second = verdict.is_ok().then(|| call().1);
    let verdict = verdict
        .map_err(Failure::from)
        .and_then(|verdict| check_grant(verdict, Authorizer::exported(policy.has_authorizer())));
    EvalReport::new(policy.into(), verdict, Durations::new(first, second))
}

/// Rejects a grant that EMQX cannot be told, like a gate does.
fn check_grant(verdict: Verdict, authorizer: Authorizer) -> Result<Verdict, Failure> {
    if let Verdict::Allow(grant) = &verdict {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Route::MqttAuth.allow_login(&convert::grant(grant.clone()), authorizer, now)?;
    }
    Ok(verdict)
}
