//! What a policy has to show before it serves: that it can work with its settings, and that its calls end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{CallError, LoadError, Policy};
use crate::policy::instance_pool::Call;
use crate::policy::sandbox::bindings::exports::mqtt_gate::auth::{authenticator, authorizer};

/// How long a call may take that no client waits for. A loaded machine must not cost a good policy its place.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many logins of nobody are tried within the deadline, before a policy is called too slow.
const WARM_LOGINS: usize = 5;

/// The client that is judged before any real one is.
const NOBODY: &str = "mqtt-gate-warm-up";

impl Policy {
    /// Asks the policy whether it can work; the settings that it looked at.
    pub(super) fn check(&self) -> Result<BTreeSet<String>, LoadError> {
        let check = |(exports, store): Call| {
            let answer = exports.authenticator.call_check(&mut *store)?;
            Ok(answer.map(|()| store.data().asked()))
        };
        self.instances
            .call(PATIENCE, check)
            .map_err(|error| LoadError::Fails { call: "check()", source: CallError::of(error) })?
            .map_err(|error| LoadError::Check(self.shown(&error, std::iter::empty())))
    }

    /// Logins of nobody, so that a policy that traps or is too slow is found out before it serves. What it answers is its own business.
    ///
    /// The first may take its time. One of the others has to keep the deadline; on a loaded machine not each of them will.
    pub(super) fn warm_up(&self) -> Result<(), LoadError> {
        let mut tried = self.try_login(PATIENCE);
        for _ in 0..WARM_LOGINS {
            if !matches!(tried, Ok(()) | Err(CallError::Deadline)) {
                break;
            }
            tried = self.try_login(self.deadline);
            if tried.is_ok() {
                break;
            }
        }
        tried.map_err(|source| LoadError::Fails { call: "first login", source })?;
        self.try_action().map_err(|source| LoadError::Fails { call: "first action", source })
    }

    fn try_action(&self) -> Result<(), CallError> {
        if !self.instances.can_authorize() {
            return Ok(());
        }
        let nobody = authorizer::Request {
            client_id: NOBODY.into(),
            username: None,
            peer_host: None,
            action: authorizer::Action::Publish,
            topic: NOBODY.into(),
            attributes: Vec::new(),
        };
        let action = |(exports, store): Call| exports.authorize(store, &nobody);
        self.instances.call(PATIENCE, action).map(drop).map_err(CallError::of)
    }

    fn try_login(&self, deadline: Duration) -> Result<(), CallError> {
        let nobody = authenticator::Credentials {
            client_id: NOBODY.into(),
            username: None,
            password: None,
            peer_host: None,
            attributes: Vec::new(),
        };
        let login = |(exports, store): Call| exports.authenticator.call_authenticate(store, &nobody);
        // Its own word that it has no verdict on nobody is as good as any other.
        self.instances.call(deadline, login).map(drop).map_err(CallError::of)
    }
}
