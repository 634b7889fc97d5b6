//! `mqtt-gate swap`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::exit::Exit;
use super::swapping::Swapping;

/// The flags of `swap`.
#[derive(Args)]
#[command(
    after_help = "FILE is checked first as `check` does, with the settings of the configuration. The file that it replaces is
kept beside it as policy.wasm.previous. If the gate does not take FILE after all, the file is put back.

Examples:
  mqtt-gate swap lockdown.wasm --config /etc/mqtt-gate/gate.toml
  mqtt-gate swap new.wasm --policy /srv/policy.wasm --admin 127.0.0.1:8004 --json
  mqtt-gate rollback --config /etc/mqtt-gate/gate.toml

Exit codes:
  0   it serves
  1   the gate does not take it, or not in time; what it replaced is back
  64  nothing was touched: FILE fails its check, the gate watches another file, or asks for a token
  70  the gate does not answer; or the file could not be put back"
)]
pub(crate) struct Swap {
    /// The component that is to serve
    #[arg(value_name = "FILE")]
    component: PathBuf,
    #[command(flatten)]
    swapping: Swapping,
}

impl Swap {
    pub(crate) fn run(self) -> Result<Exit> {
        self.swapping.prepare()?.swap(&self.component)
    }
}
