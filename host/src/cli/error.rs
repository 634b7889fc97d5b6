//! Failures of verbs, and their exit codes.

use std::fmt;

use mqtt_gate::ServeError;
use mqtt_gate::config::ConfigError;
use mqtt_gate::telemetry::DecisionLogError;
use mqtt_gate_engine::util::sanitize;
use mqtt_gate_engine::{LoadError, SandboxError, SettingsError};

use super::exit::Exit;

/// A failure of a verb. Displayed with its causes, on one line.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The gate did not activate a policy, and the previous one is restored.
    Rejected(anyhow::Error),
    /// The operator must change something. Nothing was changed.
    Usage(anyhow::Error),
    /// A fault of the machine, the network, a policy or the gate.
    Software(anyhow::Error),
}

impl CliError {
    pub(crate) fn exit_code(&self) -> Exit {
        match self {
            Self::Rejected(_) => Exit::Rejected,
            Self::Usage(_) => Exit::Usage,
            Self::Software(_) => Exit::Software,
        }
    }

    /// Adds what failed in front of the causes.
    pub(crate) fn context(self, what: String) -> Self {
        match self {
            Self::Rejected(error) => Self::Rejected(error.context(what)),
            Self::Usage(error) => Self::Usage(error.context(what)),
            Self::Software(error) => Self::Software(error.context(what)),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (Self::Rejected(error) | Self::Usage(error) | Self::Software(error)) = self;
        f.write_str(&sanitize::error_chain(error.as_ref()))
    }
}

/// An error without its own type is a mistake of the operator.
impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::Usage(error)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.into())
    }
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        Self::Usage(error.into())
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        Self::Usage(error.into())
    }
}

impl From<SandboxError> for CliError {
    fn from(error: SandboxError) -> Self {
        Self::Software(error.into())
    }
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Sandbox(_) | ServeError::System(_) | ServeError::DecisionLog(DecisionLogError::System(_)) => {
                Self::Software(error.into())
            }
            ServeError::Bind(_)
            | ServeError::InheritedSockets(_)
            | ServeError::Policy(_)
            | ServeError::Policies(_)
            | ServeError::StateInUse(_)
            | ServeError::DecisionLog(_)
            | ServeError::Traces(_)
            | ServeError::Security(_)
            | ServeError::Api(_) => Self::Usage(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::anyhow;

    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        let io_error = || io::Error::other("disk on fire");
        for (error, exit) in [
            (CliError::Rejected(anyhow!("no")), Exit::Rejected),
            (anyhow!("no such flag").into(), Exit::Usage),
            (ConfigError::NoKey.into(), Exit::Usage),
            (LoadError::CoreModule.into(), Exit::Usage),
            (ServeError::Policy(LoadError::CoreModule).into(), Exit::Usage),
            (ServeError::System(io_error()).into(), Exit::Software),
            (ServeError::DecisionLog(DecisionLogError::System(io_error())).into(), Exit::Software),
        ] {
            assert_eq!(error.exit_code(), exit, "{error}");
        }
    }

    #[test]
    fn context_comes_first_and_keeps_the_exit_code() {
        let error = CliError::Software(anyhow!("no memory")).context("p.wasm failed its check".to_owned());
        assert_eq!(
            (error.to_string().as_str(), error.exit_code()),
            ("p.wasm failed its check: no memory", Exit::Software)
        );
    }
}
