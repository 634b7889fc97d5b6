//! Contract 0.2, whose types are those of the engine. Calls copy nothing.

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::super::LoadError;
use super::super::sandbox::HostState;
use bindings::exports::mqtt_gate::auth::{authenticator, authorizer};

#[allow(missing_docs, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated from wit/")]
pub(in super::super) mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "access-policy",
        additional_derives: [PartialEq, Eq],
    });
}

pub use authenticator::{
    Access, Credentials, Denial, Effect, Grant, QosLevels, Reason as DenyReason, Rule, RuleAction, Topics, Verdict,
};
pub(in super::super) use authorizer::Request;
pub use authorizer::{Action, Permission, Publication, Subscription};
pub(in super::super) use bindings::wasi;

pub(super) const AUTHENTICATOR: &str = "mqtt-gate:auth/authenticator@0.2.0";
pub(super) const AUTHORIZER: &str = "mqtt-gate:auth/authorizer@0.2.0";

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
        credentials: &Credentials,
    ) -> wasmtime::Result<Result<Verdict, String>> {
        self.authenticator.call_authenticate(store, credentials)
    }

    pub(super) fn authorize(
        &self,
        store: &mut Store<HostState>,
        request: &Request,
    ) -> wasmtime::Result<Result<Permission, String>> {
        match &self.authorizer {
            Some(authorizer) => authorizer.call_authorize(store, request),
            None => Ok(Ok(Permission::Ignore)),
        }
    }
}
