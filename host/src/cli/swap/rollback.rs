//! `mqtt-gate rollback`

use anyhow::{Result, ensure};
use clap::Args;

use super::exit::Exit;
use super::swapping::Swapping;

/// The flags of `rollback`.
#[derive(Args)]
#[command(
    after_help = "A swap back to policy.wasm.previous, with all that `swap` does: so a second rollback undoes the first.

Examples:
  mqtt-gate rollback --config /etc/mqtt-gate/gate.toml

Exit codes:
  0   the one before serves
  1   the gate does not take it, or not in time; what it replaced is back
  64  nothing was touched: there is none before, it fails its check, or the gate watches another file
  70  the gate does not answer; or the file could not be put back"
)]
pub(crate) struct Rollback {
    #[command(flatten)]
    swapping: Swapping,
}

impl Rollback {
    pub(crate) fn run(self) -> Result<Exit> {
        let ready = self.swapping.prepare()?;
        let previous = ready.previous().to_owned();
        ensure!(previous.exists(), "nothing to go back to: {} is not there; a swap leaves it", previous.display());
        ready.swap(&previous)
    }
}
