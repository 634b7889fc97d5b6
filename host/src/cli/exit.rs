//! How the program ends: the one place that knows exit codes.

use std::process::ExitCode;

use mqtt_gate::ServeError;
use mqtt_gate::decision_log::DecisionLogError;

use super::admin::AdminError;
use super::change::ChangeError;
use super::show::PrintError;
use super::swapping::NotTaken;

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or the answer is yes.
    Yes = 0,
    /// It was asked or tried, and the answer is no.
    No = 1,
    /// The operator is to change something; nothing was touched. Standard error says what, on one line.
    Operator = 64,
    /// A fault of the machine, of the network, of a policy or of the gate.
    Fault = 70,
}

/// The exit codes, for the help of the program.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0   done; the device is let in; the policy serves
  1   asked or tried, and the answer is no: the device is refused; the policy was not taken, and the one before it is back
  64  the operator is to change something, and nothing was touched; standard error says what, on one line
  70  a fault of the machine, the network, a policy or the gate; the gate cannot be asked";

impl Exit {
    /// What an error comes to. Whatever is not known to be another's fault is for the operator to mend.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if let Some(error) = error.downcast_ref::<ServeError>() {
            return match error {
                ServeError::Sandbox(_) | ServeError::System(_) | ServeError::Decisions(DecisionLogError::System(_)) => {
                    Self::Fault
                }
                ServeError::Listen { .. }
                | ServeError::Policy(_)
                | ServeError::HandedOver(_)
                | ServeError::Safeguard(_)
                | ServeError::Decisions(_)
                | ServeError::Traces(_) => Self::Operator,
            };
        }
        if let Some(error) = error.downcast_ref::<ChangeError>() {
            return error.exit();
        }
        if let Some(error) = error.downcast_ref::<AdminError>() {
            return error.exit();
        }
        if error.is::<NotTaken>() {
            return Self::No;
        }
        if error.is::<PrintError>() { Self::Fault } else { Self::Operator }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
