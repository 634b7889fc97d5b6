//! `mqtt-gate ask`

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use brokers::{Credentials, Route};
use clap::Args;
use mqtt_gate::DEFAULT_POLICY;
use mqtt_gate::policy::{CallError, Policy, Verdict};

use super::answer::Answer;
use super::exit::Exit;
use super::login::Login;
use super::show;
use super::with::{With, component};

/// The flags of `ask`.
#[derive(Args)]
#[command(after_help = "No gate has to run for it: the policy is loaded in this process, as `serve` would.

Examples:
  mqtt-gate mint | mqtt-gate ask policy.wasm
  mqtt-gate ask policy.wasm --config gate.toml --client-id operator --attribute listener=tls
  mqtt-gate ask policy.wasm --client-id … --username … --password-file secret.txt --json

Exit codes:
  0   the device is let in
  1   it is refused, or left to another authenticator
  64  there is nothing to ask, or nobody to ask: the policy does not load
  70  the policy has no verdict, so that a gate would refuse")]
pub(crate) struct Ask {
    /// The component [default: that of the configuration, or the policy within the program]
    #[arg(value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    with: With,
    #[command(flatten)]
    login: Login,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// How long the same question took, the first time and once more.
pub(crate) struct Took {
    pub(crate) first: Duration,
    pub(crate) again: Option<Duration>,
}

impl Ask {
    pub(crate) fn run(self) -> Result<Exit> {
        let config = self.with.read()?;
        let most = usize::try_from(config.limits.body.as_u64()).unwrap_or(usize::MAX);
        let who = self.login.read(most)?;
        let policy = match self.policy.as_ref().or(config.policy.file.as_ref()) {
            Some(file) => self.with.load(config.clone(), &component(file)?)?,
            None => self.with.load(config, DEFAULT_POLICY)?,
        };
        let (verdict, took) = judge(&policy, &who);
        let answer = Answer::of(&policy, verdict, &took);
        if self.json {
            show::json(&answer)?
        } else {
            show::text(answer.lines())?
        }
        Ok(answer.exit())
    }
}

/// Asks twice, and takes the first word. A grant that could not be told to a broker is none, as in the gate.
fn judge(policy: &Policy, who: &Credentials) -> (Result<Verdict, CallError>, Took) {
    let ask = || {
        let asked = Instant::now();
        (policy.authenticate(who.clone()), asked.elapsed())
    };
    let (verdict, first) = ask();
    let again = verdict.is_ok().then(|| ask().1);
    (verdict.and_then(as_told), Took { first, again })
}

fn as_told(verdict: Verdict) -> Result<Verdict, CallError> {
    if let Verdict::Allow(grant) = &verdict {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Route::MqttAuth.admit(&grant.clone().into(), now)?;
    }
    Ok(verdict)
}
