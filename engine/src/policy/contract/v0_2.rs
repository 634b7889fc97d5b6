//! Contract 0.2, whose types are those of the engine. Calls copy nothing.

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::super::LoadError;
use super::super::sandbox::HostState;
use super::OptionalExports;
use bindings::exports::mqtt_gate::auth::{authenticator, authorizer, metadata};

#[allow(missing_docs, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated from wit/")]
pub(in super::super) mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "full-policy",
        additional_derives: [PartialEq, Eq],
    });
}

pub use authenticator::{
    Access, Credentials, Denial, Effect, Grant, QosLevels, Reason as DenyReason, Rule, RuleAction, Topics, Verdict,
};
pub(in super::super) use authorizer::Request;
pub use authorizer::{Action, Permission, Publication, Subscription};
pub(in super::super) use bindings::mqtt_gate::auth::keyring;
pub(in super::super) use bindings::wasi;
pub use metadata::{Description, Detail, GrantRequest, Kind as SettingKind, Setting as SettingDescription};

pub(super) const AUTHENTICATOR: &str = "mqtt-gate:auth/authenticator@0.2.0";
pub(super) const AUTHORIZER: &str = "mqtt-gate:auth/authorizer@0.2.0";
/// Interface of the key rings.
pub(in super::super) const KEYRING: &str = "mqtt-gate:auth/keyring@0.2.0";
pub(super) const METADATA: &str = "mqtt-gate:auth/metadata@0.2.0";

#[derive(Clone)]
pub(in super::super) struct ExportIndices {
    authenticator: authenticator::GuestIndices,
    pub(super) authorizer: Option<authorizer::GuestIndices>,
    metadata: Option<metadata::GuestIndices>,
}

impl ExportIndices {
    pub(super) fn new(component: &InstancePre<HostState>, optional: OptionalExports) -> Result<Self, LoadError> {
        let mismatch = |contract| move |source| LoadError::Contract { contract, source };
        let authorizer = || authorizer::GuestIndices::new(component).map_err(mismatch(AUTHORIZER));
        let metadata = || metadata::GuestIndices::new(component).map_err(mismatch(METADATA));
        Ok(Self {
            authenticator: authenticator::GuestIndices::new(component).map_err(mismatch(AUTHENTICATOR))?,
            authorizer: optional.authorizer.then(authorizer).transpose()?,
            metadata: optional.metadata.then(metadata).transpose()?,
        })
    }

    pub(super) fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> wasmtime::Result<Exports> {
        Ok(Exports {
            authenticator: self.authenticator.load(&mut *store, instance)?,
            authorizer: self.authorizer.as_ref().map(|it| it.load(&mut *store, instance)).transpose()?,
            metadata: self.metadata.as_ref().map(|it| it.load(&mut *store, instance)).transpose()?,
        })
    }
}

pub(in super::super) struct Exports {
    authenticator: authenticator::Guest,
    authorizer: Option<authorizer::Guest>,
    metadata: Option<metadata::Guest>,
}

impl Exports {
    pub(super) fn check(&self, store: &mut Store<HostState>) -> wasmtime::Result<Result<(), String>> {
        self.authenticator.call_check(store)
    }

    /// Calls `describe`; `None` for a policy that does not export it.
    pub(super) fn describe(&self, store: &mut Store<HostState>) -> wasmtime::Result<Option<Description>> {
        self.metadata.as_ref().map(|metadata| metadata.call_describe(store)).transpose()
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
