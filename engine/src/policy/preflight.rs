//! Preflight: calls that a policy must pass before it is activated.

use std::collections::BTreeSet;
use std::time::Duration;

use super::call_clock::CallTimeout;
use super::contract::{Action, AuthenticateCall, AuthorizeCall, Publication};
use super::instance_pool::Call;
use super::{CallError, Description, LoadError, Policy};

/// Timeout of preflight calls. It is generous so that a loaded machine does not reject a good policy.
const PREFLIGHT_TIMEOUT: CallTimeout = CallTimeout { cpu: Duration::from_secs(5), wall: Duration::from_secs(10) };

/// Probe logins within `policy_timeout` before a policy is rejected as too slow. On a loaded machine single calls may
/// exceed it.
const MAX_TIMED_PROBES: usize = 5;

/// Client id of probe logins.
const PROBE_CLIENT_ID: &str = "mqtt-gate-warm-up";

impl Policy {
    /// Calls `check()`, and returns the names of the settings that the policy read.
    pub(super) fn check(&self) -> Result<BTreeSet<String>, LoadError> {
        let check = |(exports, store): Call| {
            let result = exports.check(store)?;
            Ok(result.map(|()| store.data().settings_read()))
        };
        self.instances
            .call(PREFLIGHT_TIMEOUT, check)
            .map_err(|error| self.first_failure("check()", error))?
            .map_err(|error| LoadError::Check(self.redact(&error, Vec::new())))
    }

    /// Calls `describe()`, if the policy exports it.
    pub(super) fn describe(&self) -> Result<Option<Description>, LoadError> {
        let describe = |(exports, store): Call| exports.describe(store).map(Ok);
        let description = self
            .instances
            .call(PREFLIGHT_TIMEOUT, describe)
            .map_err(|error| self.first_failure("describe()", error))?
            .map_err(LoadError::Check)?;
        Ok(description.map(|description| description.map_texts(|text| self.redact(text, Vec::new()))))
    }

    /// Why the first call failed. It creates an instance, so it finds exports of other types.
    fn first_failure(&self, call: &'static str, error: wasmtime::Error) -> LoadError {
        match CallError::new(error) {
            CallError::ContractMismatch(source) => {
                LoadError::Contract { contract: self.contract().authenticator(), source }
            }
            source => LoadError::Preflight { call, source },
        }
    }

    /// Creates the first instance of each thread that has called the policy before, so that no client waits for it after
    /// the swap.
    pub(crate) fn warm_up(&self, before: &Self) -> Result<(), LoadError> {
        let warmed = self.instances.warm_like(&before.instances, PREFLIGHT_TIMEOUT);
        warmed.map_err(|error| LoadError::Preflight { call: "first instances", source: CallError::new(error) })
    }

    /// Evaluates probe logins, so that a policy that traps or is too slow is rejected before it goes live. The verdict is
    /// ignored.
    ///
    /// The first login may take as long as preflight allows. One of the others must keep `policy_timeout`.
    pub(super) fn probe(&self) -> Result<(), LoadError> {
        let mut result = self.probe_login(PREFLIGHT_TIMEOUT);
        for _ in 0..MAX_TIMED_PROBES {
            if !matches!(result, Ok(()) | Err(CallError::Deadline | CallError::Overloaded)) {
                break;
            }
            result = self.probe_login(self.timeout);
            if result.is_ok() {
                break;
            }
        }
        result.map_err(|source| LoadError::Preflight { call: "first login", source })?;
        self.probe_action().map_err(|source| LoadError::Preflight { call: "first action", source })
    }

    fn probe_login(&self, timeout: CallTimeout) -> Result<(), CallError> {
        let credentials = AuthenticateCall {
            client_id: PROBE_CLIENT_ID.into(),
            username: None,
            password: None,
            authentication_method: None,
            authentication_data: None,
            peer_host: None,
            attributes: Vec::new(),
        };
        let login = |(exports, store): Call| exports.authenticate(store, &credentials);
        // An error that the policy returns is as good as a verdict: the call ended.
        self.instances.call(timeout, login).map(drop).map_err(CallError::new)
    }

    fn probe_action(&self) -> Result<(), CallError> {
        if !self.has_authorizer() {
            return Ok(());
        }
        let request = AuthorizeCall {
            client_id: PROBE_CLIENT_ID.into(),
            username: None,
            peer_host: None,
            action: Action::Publish(Publication { topic: PROBE_CLIENT_ID.into(), qos: None, retain: None }),
            attributes: Vec::new(),
        };
        let action = |(exports, store): Call| exports.authorize(store, &request);
        self.instances.call(PREFLIGHT_TIMEOUT, action).map(drop).map_err(CallError::new)
    }
}
