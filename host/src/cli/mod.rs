//! The command line: one file or folder per verb, and what the verbs share.
//!
//! ```text
//! serve  check  compose  inspect/  eval/  mint  status  swap/  kick  completions
//! compile_component   the child process that compiles a policy
//! broker_check  whether the API of a broker can be called
//! policy_args   settings and limits for a policy in this process
//! client        the status of a running gate; tls_args
//! temp_file     files that are replaced in one step
//! output        text and JSON on standard output
//! error, exit   failures and exit codes
//! ```

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

mod broker_check;
mod check;
mod client;
mod compile_component;
mod completions;
mod compose;
mod description;
mod error;
mod eval;
mod exit;
mod inspect;
mod kick;
mod mint;
mod output;
mod policy_args;
mod serve;
mod status;
mod swap;
mod temp_file;
mod tls_args;

use error::CliError;
use exit::Exit;

/// Authenticate and authorize MQTT clients with a policy, a WebAssembly component that can be swapped at any time.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = exit::EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Answer MQTT brokers, and swap the policy when its file changes
    Serve(serve::Serve),
    /// Load a policy as `serve` does, and report the first problem
    Check(check::Check),
    /// Combine a policy and an HTTP adapter into one component for `wasmtime serve`, jco and other wasi:http hosts
    Compose(compose::Compose),
    /// Show what a component exports, imports and was built with, without running it
    Inspect(inspect::Inspect),
    /// Evaluate one login with a policy, without a running gate
    Eval(eval::Eval),
    /// Create a credential that the default policy allows, signed with the key in MQTT_SIGNATURE_KEY
    Mint(mint::Mint),
    /// Show the active policy, counters and warnings of a running gate
    Status(status::Status),
    /// Replace the policy of a running gate, and wait until the new one is active
    Swap(swap::swap::Swap),
    /// Restore the policy that the last swap replaced
    Rollback(swap::rollback::Rollback),
    /// Disconnect clients from EMQX, and refuse them for a time
    Kick(kick::Kick),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Compile a component for the gate that started this process
    #[command(hide = true)]
    CompileComponent(compile_component::CompileComponent),
}

/// Parses the command line and runs the verb. A failure is one line on standard error.
pub(crate) fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error),
    };
    cli.verb.run().unwrap_or_else(|error| {
        eprintln!("mqtt-gate: {error}");
        error.exit_code()
    })
}

impl Verb {
    fn run(self) -> Result<Exit, CliError> {
        match self {
            Self::Serve(serve) => serve.run(),
            Self::Check(check) => check.run(),
            Self::Compose(compose) => compose.run(),
            Self::Inspect(inspect) => inspect.run(),
            Self::Eval(eval) => eval.run(),
            Self::Mint(mint) => mint.run(),
            Self::Status(status) => status.run(),
            Self::Swap(swap) => swap.run(),
            Self::Rollback(rollback) => rollback.run(),
            Self::Kick(kick) => kick.run(),
            Self::Completions(completions) => completions.run(),
            Self::CompileComponent(compile) => compile.run(),
        }
    }
}

/// Prints help and versions as clap formats them, and a usage error on one line.
fn report_usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // There is no other stream to report a failure to.
        let _ = error.print();
    } else {
        eprintln!("mqtt-gate: {}; see mqtt-gate --help", first_paragraph(&error.to_string()));
    }
    if error.use_stderr() { Exit::Usage } else { Exit::Ok }
}

/// The first paragraph of a message of clap and its tips, on one line.
fn first_paragraph(message: &str) -> String {
    let paragraph = message.split("\n\n").next().unwrap_or(message);
    let tips = message.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    let texts = std::iter::once(paragraph).chain(tips);
    let lines: Vec<_> = texts.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.join("; ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_of_all_verbs_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_errors_take_one_line() {
        let message = "error: the following required arguments were not provided:\n  <FILE>\n\nUsage: mqtt-gate check";
        assert_eq!(first_paragraph(message), "the following required arguments were not provided: <FILE>");
        let message = "error: unrecognized subcommand 'swpa'\n\n  tip: a similar subcommand exists: 'swap'\n\nUsage: x";
        let expected = "unrecognized subcommand 'swpa'; a similar subcommand exists: 'swap'";
        assert_eq!(first_paragraph(message), expected);
    }
}
