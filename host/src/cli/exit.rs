//! Exit codes.

use std::process::ExitCode;

/// Exit code of the program. 64 and 70 are those of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success, or the answer is yes.
    Ok = 0,
    /// The answer is no.
    Rejected = 1,
    /// A mistake of the operator. Nothing was changed.
    Usage = 64,
    /// A fault of the machine, the network, a policy or the gate.
    Software = 70,
}

/// Exit codes of all verbs, for `mqtt-gate --help`.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0   success: the client is allowed, or the policy is active
  1   the answer is no: the client is denied, or the gate did not activate the policy and the previous one is restored
  64  a mistake of the operator; nothing was changed; standard error says what to change, on one line
  70  a fault of the machine, the network, a policy or the gate";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
