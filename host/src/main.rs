//! `mqtt-gate`: flags, verbs, and one line on standard error for whatever goes wrong. Exit codes: `cli/exit.rs`.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use mqtt_gate::one_line;

mod cli;
mod log;

use cli::Exit;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return answer_for(&error);
        }
    };
    match cli.run() {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = Exit::of(&error);
            if exit != Exit::Yes {
                eprintln!("mqtt-gate: {}", sanitize::chain(error.as_ref()));
            }
            exit.into()
        }
    }
}

/// What clap has to say: help and versions as they are, a mistake on one line.
fn answer_for(error: &clap::Error) -> ExitCode {
    let is_help = !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if is_help {
        // Nobody is left to tell if this fails.
        let _ = error.print();
    } else {
        let text = error.to_string();
        let first = text.split("\n\n").next().unwrap_or(&text);
        let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
        eprintln!("mqtt-gate: {}; see mqtt-gate --help", line.trim_start_matches("error: "));
    }
    if error.use_stderr() { Exit::Operator.into() } else { Exit::Yes.into() }
}
