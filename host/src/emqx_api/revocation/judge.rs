//! Asks the policies about one connected client.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{Action, AuthorizeRequest, CallError, Permission};

use crate::emqx_api::clients::Client;

/// Asks the policies that are active now.
pub(crate) struct Judge {
    /// Which of the policies can be asked.
    pub(crate) coverage: Box<dyn Fn() -> Coverage + Send + Sync>,
    /// Asks about one client.
    pub(crate) may_stay_connected: Box<dyn Fn(AuthorizeRequest) -> Result<Permission, CallError> + Send + Sync>,
}

/// Which policies can be asked about connected clients.
#[derive(Default)]
pub(crate) struct Coverage {
    /// Whether any of them can.
    pub(crate) has_authorizer: bool,
    /// Policies without an authorizer. Their denials disconnect no client.
    pub(crate) lacking: Vec<Name>,
}

impl Judge {
    /// Whether a client of this name may be connected at all.
    pub(super) fn judge(&self, client: &Client) -> Result<Permission, CallError> {
        let request = AuthorizeRequest {
            client_id: client.client_id.clone(),
            username: client.username.clone(),
            peer_host: client.peer_host.clone(),
            attributes: Vec::new(),
            actions: vec![Action::ConnectWithoutProof],
        };
        // A panic would end the thread, and with it every later sweep.
        catch_unwind(AssertUnwindSafe(|| (self.may_stay_connected)(request))).unwrap_or(Err(CallError::HostPanic))
    }
}

/// Whether a client is disconnected. A policy that fails must not disconnect a client that works.
pub(super) fn is_revoked(permission: &Result<Permission, CallError>) -> bool {
    matches!(permission, Ok(Permission::Deny))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_denial_disconnects_a_client() {
        assert!(is_revoked(&Ok(Permission::Deny)));
        for permission in [Ok(Permission::Allow), Ok(Permission::Ignore), Err(CallError::Deadline)] {
            assert!(!is_revoked(&permission), "{permission:?}");
        }
    }

    #[test]
    fn the_question_is_whether_the_client_may_be_connected_and_a_panic_is_an_error() {
        type Ask = Box<dyn Fn(AuthorizeRequest) -> Result<Permission, CallError> + Send + Sync>;
        let judge = |may_stay_connected: Ask| Judge { coverage: Box::new(Coverage::default), may_stay_connected };
        let client = Client { client_id: "c".to_owned(), username: Some("u".to_owned()), peer_host: None };
        let asked = judge(Box::new(|request| {
            let question = [Action::ConnectWithoutProof].as_slice();
            assert_eq!(
                (request.client_id.as_str(), request.username.as_deref(), request.actions.as_slice()),
                ("c", Some("u"), question)
            );
            Ok(Permission::Deny)
        }));
        assert!(is_revoked(&asked.judge(&client)));
        let panics = judge(Box::new(|_| panic!("on purpose")));
        assert!(matches!(panics.judge(&client), Err(CallError::HostPanic)));
    }
}
