//! `mqtt-gate swap`

use std::path::PathBuf;

use clap::Args;

use super::SwapArgs;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;

/// Flags of `swap`.
#[derive(Args)]
#[command(
    after_help = "FILE is checked first, as `check` does, with the settings of the configuration. The replaced file is kept beside it
as policy.wasm.previous. If the gate does not activate FILE, both files are restored.

Examples:
  mqtt-gate swap lockdown.wasm --config /etc/mqtt-gate/gate.toml
  mqtt-gate swap new.wasm --policy /srv/policy.wasm --admin 127.0.0.1:8004 --json
  mqtt-gate rollback --config /etc/mqtt-gate/gate.toml

Exit codes:
  0   the policy is active, and the caches of EMQX are reset if the gate knows its API
  1   the gate rejected it, or did not activate it in time; the files are restored
  64  nothing was changed: FILE failed its check, the gate watches another file, or it requires a token
  70  the gate cannot be reached, or the files could not be restored; or the policy is active, but the caches of EMQX
      were not reset in time"
)]
pub(crate) struct Swap {
    /// The component to activate
    #[arg(value_name = "FILE")]
    component: PathBuf,
    #[command(flatten)]
    args: SwapArgs,
}

impl Swap {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        self.args.run(|_| Ok(self.component))
    }
}
