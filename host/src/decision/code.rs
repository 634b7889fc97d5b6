//! What a question came to, in the words that are counted and written down.

use mqtt_gate_engine::policy::{CallError, Permission, Reason};

/// What a question came to, and why. Never told to the client in these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// Allowed.
    Allow,
    /// A login: the client id is malformed, or not one that is let in.
    ClientIdentifierNotValid,
    /// A login: the user name or the password is missing, malformed or wrong.
    BadUserNameOrPassword,
    /// A login: the client is who it says, and may not connect.
    NotAuthorized,
    /// A login: the client is shut out.
    Banned,
    /// An action that is not allowed.
    ActionDenied,
    /// Left to somebody else.
    Ignore,
    /// No verdict: the policy took longer than the deadline.
    Deadline,
    /// No verdict: every instance was at work.
    Busy,
    /// No verdict, by the policy's own word.
    NoVerdict,
    /// No verdict: the policy trapped.
    Trap,
    /// No verdict: the host panicked.
    Panicked,
    /// No verdict that the broker could be told.
    UnfitGrant,
    /// No verdict: the call failed otherwise.
    Failed,
    /// Refused without asking the policy: nobody may.
    Unasked,
}

impl Ruling {
    /// Every one, in order: the place of each is its number.
    pub(crate) const ALL: [Self; 15] = [
        Self::Allow,
        Self::ClientIdentifierNotValid,
        Self::BadUserNameOrPassword,
        Self::NotAuthorized,
        Self::Banned,
        Self::ActionDenied,
        Self::Ignore,
        Self::Deadline,
        Self::Busy,
        Self::NoVerdict,
        Self::Trap,
        Self::Panicked,
        Self::UnfitGrant,
        Self::Failed,
        Self::Unasked,
    ];

    /// Its place in [`Self::ALL`].
    pub(crate) const fn number(self) -> usize {
        self as usize
    }

    pub(crate) fn of_permission(permission: Permission) -> Self {
        match permission {
            Permission::Allow => Self::Allow,
            Permission::Deny => Self::ActionDenied,
            Permission::Ignore => Self::Ignore,
        }
    }

    /// The verdict in a word.
    pub(crate) fn verdict(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ignore => "ignore",
            fault if fault.is_fault() => "no-verdict",
            _ => "deny",
        }
    }

    /// The reason in a word, if there is one: for a login, its name in the contract.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Allow | Self::Ignore => "",
            Self::ClientIdentifierNotValid => Reason::ClientIdentifierNotValid.name(),
            Self::BadUserNameOrPassword => Reason::BadUserNameOrPassword.name(),
            Self::NotAuthorized => Reason::NotAuthorized.name(),
            Self::Banned => Reason::Banned.name(),
            Self::ActionDenied => "action-not-allowed",
            Self::Deadline => "deadline",
            Self::Busy => "busy",
            Self::NoVerdict => "no-verdict",
            Self::Trap => "trap",
            Self::Panicked => "panicked",
            Self::UnfitGrant => "unfit-grant",
            Self::Failed => "failed",
            Self::Unasked => "nobody-may",
        }
    }

    /// Whether there was no verdict, by somebody's fault.
    pub(crate) fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Deadline
                | Self::Busy
                | Self::NoVerdict
                | Self::Trap
                | Self::Panicked
                | Self::UnfitGrant
                | Self::Failed
        )
    }
}

impl From<Reason> for Ruling {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::ClientIdentifierNotValid => Self::ClientIdentifierNotValid,
            Reason::BadUserNameOrPassword => Self::BadUserNameOrPassword,
            Reason::NotAuthorized => Self::NotAuthorized,
            Reason::Banned => Self::Banned,
        }
    }
}

impl From<&CallError> for Ruling {
    fn from(fault: &CallError) -> Self {
        match fault {
            CallError::Deadline => Self::Deadline,
            CallError::Busy => Self::Busy,
            CallError::NoVerdict(_) => Self::NoVerdict,
            CallError::Trap(_) => Self::Trap,
            CallError::Panicked => Self::Panicked,
            CallError::UnfitGrant(_) => Self::UnfitGrant,
            CallError::Failed(_) => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_place_and_words() {
        let words = |ruling: Ruling| (ruling.verdict(), ruling.reason());
        for (place, ruling) in Ruling::ALL.into_iter().enumerate() {
            assert_eq!(ruling.number(), place);
            let alike = Ruling::ALL.into_iter().filter(|other| words(*other) == words(ruling)).count();
            assert_eq!(alike, 1, "{ruling:?}");
        }
    }
}
