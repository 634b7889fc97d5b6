//! The verbs of the command line, a file each, and the nouns that they share:
//!
//! ```text
//! with.rs    the settings that a policy is tried with     login.rs   who wants in ─► answer.rs  what is said of it
//! admin.rs   a gate that runs ─► state.rs  what it says   trust.rs   by TLS
//! swapping.rs, change.rs, place.rs   another policy in its file
//! show.rs    printing; capability.rs  plain words         exit.rs    exit codes, all of them
//! ```

use anyhow::Result;
use clap::{Parser, Subcommand};

mod admin;
mod answer;
mod ask;
mod capability;
mod change;
mod check;
mod completions;
mod compose;
mod exit;
mod inspect;
mod login;
mod mint;
mod place;
mod rollback;
mod serve;
mod show;
mod state;
mod status;
mod swap;
mod swapping;
mod trust;
mod with;

pub(crate) use exit::Exit;

/// A gate in front of MQTT brokers: judges logins by a policy that can be swapped while it runs.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = exit::EXIT_CODES)]
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
    /// Say what a policy is made of, without running any of it
    Inspect(inspect::Inspect),
    /// Judge one login by a policy, without a gate
    Ask(ask::Ask),
    /// Make a credential that the default policy lets in, from the key in MQTT_SIGNATURE_KEY
    Mint(mint::Mint),
    /// Ask a gate that runs what serves and how it fares
    Status(status::Status),
    /// Put another policy in service, and wait until it serves
    Swap(swap::Swap),
    /// Put the policy back in service that the last swap replaced
    Rollback(rollback::Rollback),
    /// Print what a shell needs to complete these verbs and their flags
    Completions(completions::Completions),
}

impl Cli {
    pub(crate) fn run(self) -> Result<Exit> {
        match self.verb {
            Verb::Serve(serve) => serve.run().map(|()| Exit::Yes),
            Verb::Check(check) => check.run(),
            Verb::Compose(compose) => compose.run().map(|()| Exit::Yes),
            Verb::Inspect(inspect) => inspect.run(),
            Verb::Ask(ask) => ask.run(),
            Verb::Mint(mint) => mint.run(),
            Verb::Status(status) => status.run(),
            Verb::Swap(swap) => swap.run(),
            Verb::Rollback(rollback) => rollback.run(),
            Verb::Completions(completions) => completions.run(),
        }
    }
}
