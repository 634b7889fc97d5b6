//! The verbs of the command line, a file each.

use anyhow::Result;
use clap::{Parser, Subcommand};

mod check;
mod compose;
mod mint;
mod serve;

/// A gate in front of MQTT brokers: judges logins by a policy that can be swapped while it runs.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Answer brokers, and swap the policy when its file changes
    Serve(serve::Serve),
    /// Load a policy as `serve` would, and say what is wrong with it
    Check(check::Check),
    /// Put a policy behind HTTP: one component that answers brokers under `wasmtime serve`, jco and the like
    Compose(compose::Compose),
    /// Make a credential that the default policy lets in, from the key in MQTT_SIGNATURE_KEY
    Mint(mint::Mint),
}

impl Cli {
    pub(crate) fn run(self) -> Result<()> {
        match self.verb {
            Verb::Serve(serve) => serve.run(),
            Verb::Check(check) => check.run(),
            Verb::Compose(compose) => compose.run(),
            Verb::Mint(mint) => mint.run(),
        }
    }
}
