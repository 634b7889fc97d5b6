//! `mqtt-gate rollback`

use anyhow::ensure;
use clap::Args;

use super::SwapArgs;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;

/// Flags of `rollback`.
#[derive(Args)]
#[command(after_help = "A rollback is a swap to policy.wasm.previous, so a second rollback undoes the first.

Examples:
  mqtt-gate rollback --config /etc/mqtt-gate/gate.toml

Exit codes:
  0   the previous policy is active
  1   the gate rejected it, or did not activate it in time; the files are restored
  64  nothing was changed: there is no previous policy, it failed its check, or the gate watches another file
  70  the gate cannot be reached, or the files could not be restored")]
pub(crate) struct Rollback {
    #[command(flatten)]
    args: SwapArgs,
}

impl Rollback {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        self.args.run(|file| {
            let previous = file.previous();
            ensure!(previous.exists(), "no previous policy: {} does not exist; a swap creates it", previous.display());
            Ok(previous.to_owned())
        })
    }
}
