//! `mqtt-gate completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::error::CliError;
use super::exit::Exit;
use super::{Cli, output};

/// Flags of `completions`.
#[derive(Args)]
#[command(after_help = "Examples:
  mqtt-gate completions bash > /etc/bash_completion.d/mqtt-gate
  mqtt-gate completions fish > ~/.config/fish/completions/mqtt-gate.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "mqtt-gate", &mut script);
        output::print_text(String::from_utf8_lossy(&script).trim_end())?;
        Ok(Exit::Ok)
    }
}
