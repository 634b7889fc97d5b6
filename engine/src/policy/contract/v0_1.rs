//! Contract 0.1, adapted to 0.2 on each call. `proxies/contract-0-1` does the same in a composition.
//!
//! A policy of 0.1 is not told what its contract has no field for: the authentication method and data, the quality of
//! service, and whether a message is retained.

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::super::LoadError;
use super::super::sandbox::HostState;
use super::v0_2;
use bindings::exports::mqtt_gate::auth::{authenticator, authorizer};

#[allow(missing_docs, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated from wit/v0.1/")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/v0.1",
        world: "access-policy",
        with: {
            "wasi:clocks/wall-clock@0.2.0": super::v0_2::wasi::clocks::wall_clock,
            "wasi:config/store@0.2.0-rc.1": super::v0_2::wasi::config::store,
        },
    });
}

pub(super) const AUTHENTICATOR: &str = "mqtt-gate:auth/authenticator@0.1.0";
pub(super) const AUTHORIZER: &str = "mqtt-gate:auth/authorizer@0.1.0";

#[derive(Clone)]
pub(in super::super) struct ExportIndices {
    authenticator: authenticator::GuestIndices,
    pub(super) authorizer: Option<authorizer::GuestIndices>,
}

impl ExportIndices {
    pub(super) fn new(component: &InstancePre<HostState>, has_authorizer: bool) -> Result<Self, LoadError> {
        let mismatch = |contract| move |source| LoadError::Contract { contract, source };
        let authorizer = || authorizer::GuestIndices::new(component).map_err(mismatch(AUTHORIZER));
        Ok(Self {
            authenticator: authenticator::GuestIndices::new(component).map_err(mismatch(AUTHENTICATOR))?,
            authorizer: has_authorizer.then(authorizer).transpose()?,
        })
    }

    pub(super) fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> wasmtime::Result<Exports> {
        Ok(Exports {
            authenticator: self.authenticator.load(&mut *store, instance)?,
            authorizer: self.authorizer.as_ref().map(|it| it.load(&mut *store, instance)).transpose()?,
        })
    }
}

pub(in super::super) struct Exports {
    authenticator: authenticator::Guest,
    authorizer: Option<authorizer::Guest>,
}

impl Exports {
    pub(super) fn check(&self, store: &mut Store<HostState>) -> wasmtime::Result<Result<(), String>> {
        self.authenticator.call_check(store)
    }

    pub(super) fn authenticate(
        &self,
        store: &mut Store<HostState>,
        credentials: &v0_2::Credentials,
    ) -> wasmtime::Result<Result<v0_2::Verdict, String>> {
        let verdict = self.authenticator.call_authenticate(store, &credentials.into())?;
        Ok(verdict.map(Into::into))
    }

    pub(super) fn authorize(
        &self,
        store: &mut Store<HostState>,
        request: &v0_2::Request,
    ) -> wasmtime::Result<Result<v0_2::Permission, String>> {
        let Some(authorizer) = &self.authorizer else { return Ok(Ok(v0_2::Permission::Ignore)) };
        // An empty topic would be the question of `connect-without-proof`.
        let Some(request) = authorize_request(request) else { return Ok(Ok(v0_2::Permission::Deny)) };
        let permission = authorizer.call_authorize(store, &request)?;
        Ok(permission.map(Into::into))
    }
}

/// The request, unless it has an empty topic, which MQTT does not allow.
fn authorize_request(request: &v0_2::Request) -> Option<authorizer::Request> {
    let (action, topic) = match &request.action {
        v0_2::Action::ConnectWithoutProof => (authorizer::Action::Subscribe, ""),
        v0_2::Action::Publish(publication) => (authorizer::Action::Publish, non_empty(&publication.topic)?),
        v0_2::Action::Subscribe(subscription) => (authorizer::Action::Subscribe, non_empty(&subscription.filter)?),
    };
    Some(authorizer::Request {
        client_id: request.client_id.clone(),
        username: request.username.clone(),
        peer_host: request.peer_host.clone(),
        action,
        topic: topic.to_owned(),
        attributes: request.attributes.clone(),
    })
}

fn non_empty(topic: &str) -> Option<&str> {
    (!topic.is_empty()).then_some(topic)
}

impl From<&v0_2::Credentials> for authenticator::Credentials {
    fn from(credentials: &v0_2::Credentials) -> Self {
        Self {
            client_id: credentials.client_id.clone(),
            username: credentials.username.clone(),
            password: credentials.password.clone(),
            peer_host: credentials.peer_host.clone(),
            attributes: credentials.attributes.clone(),
        }
    }
}

impl From<authenticator::Verdict> for v0_2::Verdict {
    fn from(verdict: authenticator::Verdict) -> Self {
        match verdict {
            authenticator::Verdict::Allow(grant) => Self::Allow(grant.into()),
            authenticator::Verdict::Deny(reason) => Self::Deny(v0_2::Denial { reason: reason.into(), detail: None }),
            authenticator::Verdict::Ignore => Self::Ignore,
        }
    }
}

impl From<authenticator::Grant> for v0_2::Grant {
    fn from(grant: authenticator::Grant) -> Self {
        let authenticator::Grant { access, expires_at, key_id, attributes } = grant;
        Self { access: access.into(), expires_at, key_id, attributes, extensions: Vec::new() }
    }
}

impl From<authenticator::Access> for v0_2::Access {
    fn from(access: authenticator::Access) -> Self {
        match access {
            authenticator::Access::Everything => Self::Everything,
            authenticator::Access::Only(authenticator::Topics { publish, subscribe }) => {
                Self::Only(v0_2::Topics { publish, subscribe })
            }
            authenticator::Access::BrokerRules => Self::BrokerRules,
        }
    }
}

impl From<authenticator::Reason> for v0_2::DenyReason {
    fn from(reason: authenticator::Reason) -> Self {
        match reason {
            authenticator::Reason::ClientIdentifierNotValid => Self::ClientIdentifierNotValid,
            authenticator::Reason::BadUserNameOrPassword => Self::BadUserNameOrPassword,
            authenticator::Reason::NotAuthorized => Self::NotAuthorized,
            authenticator::Reason::Banned => Self::Banned,
        }
    }
}

impl From<authorizer::Permission> for v0_2::Permission {
    fn from(permission: authorizer::Permission) -> Self {
        match permission {
            authorizer::Permission::Allow => Self::Allow,
            authorizer::Permission::Deny => Self::Deny,
            authorizer::Permission::Ignore => Self::Ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(action: v0_2::Action) -> v0_2::Request {
        v0_2::Request { client_id: "c".to_owned(), username: None, peer_host: None, action, attributes: Vec::new() }
    }

    #[test]
    fn only_the_question_without_proof_becomes_an_empty_topic() {
        let publish = |topic: &str| {
            let (qos, retain) = (Some(1), Some(true));
            v0_2::Action::Publish(v0_2::Publication { topic: topic.to_owned(), qos, retain })
        };
        let subscribe =
            |filter: &str| v0_2::Action::Subscribe(v0_2::Subscription { filter: filter.to_owned(), qos: Some(1) });
        for (action, expected) in [
            (v0_2::Action::ConnectWithoutProof, Some((authorizer::Action::Subscribe, ""))),
            (publish("a"), Some((authorizer::Action::Publish, "a"))),
            (subscribe("a/#"), Some((authorizer::Action::Subscribe, "a/#"))),
            (publish(""), None),
            (subscribe(""), None),
        ] {
            let adapted = authorize_request(&request(action));
            let told = adapted.as_ref().map(|request| (request.action, request.topic.as_str()));
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn reasons_keep_their_names() {
        for (reason, name) in [
            (authenticator::Reason::ClientIdentifierNotValid, "client-identifier-not-valid"),
            (authenticator::Reason::BadUserNameOrPassword, "bad-user-name-or-password"),
            (authenticator::Reason::NotAuthorized, "not-authorized"),
            (authenticator::Reason::Banned, "banned"),
        ] {
            assert_eq!(v0_2::DenyReason::from(reason).name(), name);
        }
    }
}
