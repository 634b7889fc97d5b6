//! Code of a decision, for metrics and logs.

use mqtt_gate_engine::{CallError, DenyReason};

/// The decision and its reason. Never sent to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecisionCode {
    /// Allowed.
    Allow,
    /// Denied login: the client identifier is malformed, or not one that may connect.
    ClientIdentifierNotValid,
    /// Denied login: the user name or the password is missing, malformed or wrong.
    BadUserNameOrPassword,
    /// Denied login: the client is who it claims to be, and may not connect.
    NotAuthorized,
    /// Denied login: the client is banned.
    Banned,
    /// Denied login, for a reason that the contract does not name.
    Unspecified,
    /// Denied login: something that the operator granted to the policy is not available.
    ServerUnavailable,
    /// Denied login: the policy does not know the authentication method.
    BadAuthenticationMethod,
    /// Denied login: the client has used up its quota.
    QuotaExceeded,
    /// Denied login: the client connects too often.
    ConnectionRateExceeded,
    /// Denied login: the client failed too often, and the policy was not called.
    LockedOut,
    /// Denied publish or subscribe.
    ActionDenied,
    /// Left to the broker's next authenticator or to its own rules.
    Ignore,
    /// Error: the call exceeded its timeout.
    Deadline,
    /// Error: the machine was too busy to finish the call in time.
    Overloaded,
    /// Error: no instance was free.
    PoolExhausted,
    /// Error: the tenant has used its share of processor time.
    TenantQuota,
    /// Error: the policy returned one.
    NoVerdict,
    /// Error: the policy trapped.
    Trap,
    /// Error: the host panicked.
    HostPanic,
    /// Error: the broker's dialect cannot express the grant.
    UnsupportedGrant,
    /// Error: the call failed in another way.
    CallFailed,
    /// Denied without calling the policy.
    AlwaysDenied,
}

impl DecisionCode {
    /// All codes, each at its [`Self::index`].
    pub(crate) const ALL: [Self; 23] = [
        Self::Allow,
        Self::ClientIdentifierNotValid,
        Self::BadUserNameOrPassword,
        Self::NotAuthorized,
        Self::Banned,
        Self::Unspecified,
        Self::ServerUnavailable,
        Self::BadAuthenticationMethod,
        Self::QuotaExceeded,
        Self::ConnectionRateExceeded,
        Self::LockedOut,
        Self::ActionDenied,
        Self::Ignore,
        Self::Deadline,
        Self::Overloaded,
        Self::PoolExhausted,
        Self::TenantQuota,
        Self::NoVerdict,
        Self::Trap,
        Self::HostPanic,
        Self::UnsupportedGrant,
        Self::CallFailed,
        Self::AlwaysDenied,
    ];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Label `verdict`.
    pub(crate) fn verdict(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ignore => "ignore",
            code if code.is_error() => "error",
            _ => "deny",
        }
    }

    /// Label `reason`. Empty if the verdict says all.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Allow | Self::Ignore => "",
            Self::ClientIdentifierNotValid => DenyReason::ClientIdentifierNotValid.name(),
            Self::BadUserNameOrPassword => DenyReason::BadUserNameOrPassword.name(),
            Self::NotAuthorized => DenyReason::NotAuthorized.name(),
            Self::Banned => DenyReason::Banned.name(),
            Self::Unspecified => DenyReason::Unspecified.name(),
            Self::ServerUnavailable => DenyReason::ServerUnavailable.name(),
            Self::BadAuthenticationMethod => DenyReason::BadAuthenticationMethod.name(),
            Self::QuotaExceeded => DenyReason::QuotaExceeded.name(),
            Self::ConnectionRateExceeded => DenyReason::ConnectionRateExceeded.name(),
            Self::LockedOut => "locked-out",
            Self::ActionDenied => "action-not-allowed",
            Self::Deadline => "deadline",
            Self::Overloaded => "overloaded",
            Self::PoolExhausted => "pool-exhausted",
            Self::TenantQuota => "tenant-quota",
            Self::NoVerdict => "no-verdict",
            Self::Trap => "trap",
            Self::HostPanic => "host-panic",
            Self::UnsupportedGrant => "unsupported-grant",
            Self::CallFailed => "call-failed",
            Self::AlwaysDenied => "always-denied",
        }
    }

    /// Whether there was no verdict.
    pub(crate) fn is_error(self) -> bool {
        matches!(
            self,
            Self::Deadline
                | Self::Overloaded
                | Self::PoolExhausted
                | Self::TenantQuota
                | Self::NoVerdict
                | Self::Trap
                | Self::HostPanic
                | Self::UnsupportedGrant
                | Self::CallFailed
        )
    }
}

impl From<DenyReason> for DecisionCode {
    fn from(reason: DenyReason) -> Self {
        match reason {
            DenyReason::ClientIdentifierNotValid => Self::ClientIdentifierNotValid,
            DenyReason::BadUserNameOrPassword => Self::BadUserNameOrPassword,
            DenyReason::NotAuthorized => Self::NotAuthorized,
            DenyReason::Banned => Self::Banned,
            DenyReason::Unspecified => Self::Unspecified,
            DenyReason::ServerUnavailable => Self::ServerUnavailable,
            DenyReason::BadAuthenticationMethod => Self::BadAuthenticationMethod,
            DenyReason::QuotaExceeded => Self::QuotaExceeded,
            DenyReason::ConnectionRateExceeded => Self::ConnectionRateExceeded,
        }
    }
}

impl From<&CallError> for DecisionCode {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Deadline => Self::Deadline,
            CallError::Overloaded => Self::Overloaded,
            CallError::PoolExhausted => Self::PoolExhausted,
            CallError::QuotaExceeded => Self::TenantQuota,
            CallError::NoVerdict(_) => Self::NoVerdict,
            CallError::Trap(_) | CallError::OutOfMemory(_) => Self::Trap,
            CallError::HostPanic => Self::HostPanic,
            CallError::CallFailed(_) | CallError::ContractMismatch(_) => Self::CallFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_index_and_labels() {
        let labels = |code: DecisionCode| (code.verdict(), code.reason());
        for (index, code) in DecisionCode::ALL.into_iter().enumerate() {
            assert_eq!(code.index(), index);
            let same = DecisionCode::ALL.into_iter().filter(|other| labels(*other) == labels(code)).count();
            assert_eq!(same, 1, "{code:?}");
        }
    }

    #[test]
    fn reasons_keep_the_names_of_the_contract() {
        for reason in DenyReason::ALL {
            let code = DecisionCode::from(reason);
            assert_eq!((code.verdict(), code.reason()), ("deny", reason.name()));
        }
    }

    #[test]
    fn call_errors_have_the_same_code_everywhere() {
        for error in
            [CallError::Deadline, CallError::Overloaded, CallError::PoolExhausted, CallError::NoVerdict(String::new())]
        {
            assert_eq!(DecisionCode::from(&error).reason(), error.code());
        }
    }
}
