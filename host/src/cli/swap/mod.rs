//! `mqtt-gate swap` and `mqtt-gate rollback`

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use mqtt_gate::config::Config;

use super::client::ClientArgs;
use super::error::CliError;
use super::exit::Exit;
use super::output;
use super::policy_args::{PolicyArgs, read_component};

mod apply;
mod error;
mod policy_file;
mod report;
pub(super) mod rollback;
#[expect(clippy::module_inception, reason = "the verb `swap` beside the verb `rollback`")]
pub(super) mod swap;

use apply::{Member, apply};
use policy_file::PolicyFile;

/// Flags of `swap` and `rollback`.
#[derive(Args)]
struct SwapArgs {
    #[command(flatten)]
    policy_args: PolicyArgs,
    /// The file that the gate watches [default: that of the configuration]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
    /// Wait this long for the gate to activate the policy
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

impl SwapArgs {
    /// Checks the component that `choose` finds, swaps it in, and prints the report.
    fn run(self, choose: impl FnOnce(&PolicyFile) -> Result<PathBuf>) -> Result<Exit, CliError> {
        let config = self.policy_args.config()?;
        let file = PolicyFile::lock(self.policy_file(&config)?)?;
        let client = self.client.client(&config)?;
        let member = Member { tenant: self.policy_args.tenant().map(str::to_owned), name: self.member_name(&config)? };
        let component = self.check(&choose(&file)?, config)?;
        let report = apply(&client, &member, &file, &component, self.timeout)?;
        let failure = report.failure(client.url(), &humantime::format_duration(self.timeout).to_string());
        if self.json || failure.is_none() {
            output::print(&report, self.json)?;
        }
        match (failure, report.stale_caches()) {
            (Some(failure), _) => Err(CliError::Rejected(anyhow!(failure))),
            (None, Some(stale)) => Err(CliError::Software(anyhow!(stale))),
            (None, None) => Ok(Exit::Ok),
        }
    }

    fn policy_file(&self, config: &Config) -> Result<PathBuf> {
        if let Some(file) = &self.policy {
            return Ok(file.clone());
        }
        self.policy_args.policy(config)?.file.clone().context(
            "no policy file to swap: pass --config with policy.file in it, or --policy; \
             the embedded policy cannot be swapped",
        )
    }

    /// The operator's name for the policy; `None`: the gate has only one.
    fn member_name(&self, config: &Config) -> Result<Option<String>> {
        let policy = self.policy_args.policy(config)?;
        Ok(policy.name.map(|name| name.as_str().to_owned()))
    }

    /// Loads the component in this process, and returns its bytes.
    fn check(&self, path: &Path, config: Config) -> Result<Vec<u8>, CliError> {
        let component = read_component(path)?;
        let loaded = self.policy_args.load(config, &component);
        loaded
            .map_err(|error| error.context(format!("{} failed its check, and nothing was changed", path.display())))?;
        Ok(component)
    }
}
