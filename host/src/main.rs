//! `mqtt-gate`: flags, verbs and exit codes.
//!
//! 0: done. 64: the operator is to change something; standard error says what, on one line. 70: a fault of the machine
//! or of the gate.

use std::process::ExitCode;

use clap::Parser;
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
            let code = if error.use_stderr() { OPERATOR } else { 0 };
            // Nobody is left to tell if this fails.
            let _ = error.print();
            return ExitCode::from(code);
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

fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(ServeError::Sandbox(_) | ServeError::System(_)) => SOFTWARE,
        _ => OPERATOR,
    }
}
