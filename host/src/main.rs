//! `mqtt-gate`: flags, verbs and exit codes.
//!
//! 0: done. 64: the operator is to change something; standard error says what, on one line. 70: a fault of the machine
//! or of the gate.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use mqtt_gate::ServeError;
use mqtt_gate::one_line;

mod cli;
mod log;

const OPERATOR: u8 = 64;
const SOFTWARE: u8 = 70;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return answer_for(&error);
        }
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mqtt-gate: {}", one_line::chain(error.as_ref()));
            ExitCode::from(exit_code(&error))
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
    ExitCode::from(if error.use_stderr() { OPERATOR } else { 0 })
}

fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(ServeError::Sandbox(_) | ServeError::System(_)) => SOFTWARE,
        _ => OPERATOR,
    }
}
