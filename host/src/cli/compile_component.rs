//! `mqtt-gate compile-component`: the child process of [`mqtt_gate::ChildCompiler`]. Not for operators.

use anyhow::anyhow;
use clap::Args;
use mqtt_gate::child_compiler::{ChildTask, run_child};

use super::error::CliError;
use super::exit::Exit;

/// The task, as the parent writes it.
#[derive(Args)]
pub(crate) struct CompileComponent {
    task: Vec<String>,
}

impl CompileComponent {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let task = ChildTask::parse(&self.task);
        let task = task.ok_or_else(|| anyhow!("compile-component: for the gate itself; use `mqtt-gate check`"))?;
        std::process::exit(run_child(task))
    }
}
