//! The contract of a policy, in each version that the host serves.
//!
//! The types of the engine are those of the newest version. A policy of an older one is adapted on each call.

use std::fmt;

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::LoadError;
use super::error::ExportMismatch;
use super::sandbox::HostState;

mod v0_1;
pub(super) mod v0_2;

pub(super) use v0_2::keyring;
pub(super) use v0_2::wasi;
pub use v0_2::{
    Access, Action, Credentials, Denial, DenyReason, Description, Detail, Effect, Grant, GrantRequest, Permission,
    Publication, QosLevels, Rule, RuleAction, SettingDescription, SettingKind, Subscription, Topics, Verdict,
};
pub(super) use v0_2::{Credentials as AuthenticateCall, Request as AuthorizeCall};

/// Interface that every policy exports.
pub const AUTHENTICATOR: &str = v0_2::AUTHENTICATOR;

/// Interface that a policy exports to judge publish and subscribe requests.
pub const AUTHORIZER: &str = v0_2::AUTHORIZER;

/// Name of [`AUTHENTICATOR`] in any version of the contract.
const ANY_AUTHENTICATOR: &str = "mqtt-gate:auth/authenticator@";

/// Name of [`AUTHORIZER`] in any version of the contract.
const ANY_AUTHORIZER: &str = "mqtt-gate:auth/authorizer@";

/// A version of the contract that the host serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContractVersion {
    /// `mqtt-gate:auth@0.1.0`.
    V0_1,
    /// `mqtt-gate:auth@0.2.0`.
    V0_2,
}

impl ContractVersion {
    /// Every version, the newest first.
    pub const ALL: [Self; 2] = [Self::V0_2, Self::V0_1];

    /// `0.1` or `0.2`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
        }
    }

    /// Name of the authenticator interface.
    #[must_use]
    pub const fn authenticator(self) -> &'static str {
        match self {
            Self::V0_1 => v0_1::AUTHENTICATOR,
            Self::V0_2 => v0_2::AUTHENTICATOR,
        }
    }

    /// Name of the authorizer interface.
    #[must_use]
    pub const fn authorizer(self) -> &'static str {
        match self {
            Self::V0_1 => v0_1::AUTHORIZER,
            Self::V0_2 => v0_2::AUTHORIZER,
        }
    }

    /// The newest version whose authenticator is among these exports.
    #[must_use]
    pub fn of<'a>(exports: impl Iterator<Item = &'a str> + Clone) -> Option<Self> {
        Self::ALL.into_iter().find(|version| find(exports.clone(), version.authenticator()).is_some())
    }
}

impl fmt::Display for ContractVersion {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The export of this interface in a compatible version.
pub(super) fn find<'a>(mut exports: impl Iterator<Item = &'a str>, interface: &str) -> Option<&'a str> {
    exports.find(|name| is_compatible(name, interface))
}

/// The version of the contract in the name of an authenticator, whether the host serves it or not.
pub(super) fn built_against<'a>(mut exports: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    exports.find_map(|name| name.strip_prefix(ANY_AUTHENTICATOR))
}

/// The version of an authorizer that does not belong to the authenticator, unless one that does is there too.
///
/// It must not be treated like a missing one: the policy would seem to leave topics to the broker.
pub(super) fn foreign_authorizer<'a>(
    mut exports: impl Iterator<Item = &'a str> + Clone,
    contract: ContractVersion,
) -> Option<&'a str> {
    match find(exports.clone(), contract.authorizer()) {
        Some(_) => None,
        None => exports.find_map(|name| name.strip_prefix(ANY_AUTHORIZER)),
    }
}

/// Whether an import is that of the key rings.
pub(super) fn is_keyring(import: &str) -> bool {
    is_compatible(import, v0_2::KEYRING)
}

/// Whether an export is this interface in a compatible version: before 1.0, versions that differ only in the last number
/// are (https://semver.org). wasmtime finds an export in the same way.
fn is_compatible(export: &str, interface: &str) -> bool {
    let parts = |name: &str| {
        let (name, version) = name.split_once('@')?;
        let (minor, patch) = version.rsplit_once('.')?;
        let is_number = !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| (name.to_owned(), minor.to_owned()))
    };
    parts(export).is_some_and(|export| Some(export) == parts(interface))
}

/// Interfaces that a policy need not export.
#[derive(Clone, Copy)]
pub(super) struct OptionalExports {
    authorizer: bool,
    metadata: bool,
}

impl OptionalExports {
    /// Those among these exports.
    pub(super) fn of<'a>(exports: impl Iterator<Item = &'a str> + Clone, contract: ContractVersion) -> Self {
        Self {
            authorizer: find(exports.clone(), contract.authorizer()).is_some(),
            metadata: contract == ContractVersion::V0_2 && find(exports, v0_2::METADATA).is_some(),
        }
    }
}

/// Where the functions of the contract are in a component.
#[derive(Clone)]
pub(super) enum ExportIndices {
    V0_1(v0_1::ExportIndices),
    V0_2(v0_2::ExportIndices),
}

impl ExportIndices {
    /// # Errors
    /// An export has another type than in the contract.
    pub(super) fn new(
        component: &InstancePre<HostState>,
        contract: ContractVersion,
        optional: OptionalExports,
    ) -> Result<Self, LoadError> {
        Ok(match contract {
            ContractVersion::V0_1 => Self::V0_1(v0_1::ExportIndices::new(component, optional.authorizer)?),
            ContractVersion::V0_2 => Self::V0_2(v0_2::ExportIndices::new(component, optional)?),
        })
    }

    pub(super) fn contract(&self) -> ContractVersion {
        match self {
            Self::V0_1(_) => ContractVersion::V0_1,
            Self::V0_2(_) => ContractVersion::V0_2,
        }
    }

    pub(super) fn has_authorizer(&self) -> bool {
        match self {
            Self::V0_1(indices) => indices.authorizer.is_some(),
            Self::V0_2(indices) => indices.authorizer.is_some(),
        }
    }

    /// Finds the functions in an instance of the component.
    pub(super) fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> wasmtime::Result<Exports> {
        let exports = match self {
            Self::V0_1(indices) => indices.load(store, instance).map(Exports::V0_1),
            Self::V0_2(indices) => indices.load(store, instance).map(Exports::V0_2),
        };
        exports.map_err(|error| error.context(ExportMismatch))
    }
}

/// The functions of an instance.
pub(super) enum Exports {
    V0_1(v0_1::Exports),
    V0_2(v0_2::Exports),
}

impl Exports {
    pub(super) fn check(&self, store: &mut Store<HostState>) -> wasmtime::Result<Result<(), String>> {
        match self {
            Self::V0_1(exports) => exports.check(store),
            Self::V0_2(exports) => exports.check(store),
        }
    }

    /// Calls `describe`; `None` for a policy that does not export it.
    pub(super) fn describe(&self, store: &mut Store<HostState>) -> wasmtime::Result<Option<Description>> {
        match self {
            Self::V0_1(_) => Ok(None),
            Self::V0_2(exports) => exports.describe(store),
        }
    }

    pub(super) fn authenticate(
        &self,
        store: &mut Store<HostState>,
        credentials: &Credentials,
    ) -> wasmtime::Result<Result<Verdict, String>> {
        match self {
            Self::V0_1(exports) => exports.authenticate(store, credentials),
            Self::V0_2(exports) => exports.authenticate(store, credentials),
        }
    }

    /// Calls `authorize`, or answers *ignore* for a policy that does not export it.
    pub(super) fn authorize(
        &self,
        store: &mut Store<HostState>,
        request: &AuthorizeCall,
    ) -> wasmtime::Result<Result<Permission, String>> {
        match self {
            Self::V0_1(exports) => exports.authorize(store, request),
            Self::V0_2(exports) => exports.authorize(store, request),
        }
    }
}

impl Denial {
    /// Longest detail, in characters.
    const MAX_DETAIL: usize = 64;

    /// Whether a text may be shown as the detail of a denial: 1 to 64 characters `a-z`, `0-9` and `-`.
    #[must_use]
    pub fn is_detail(text: &str) -> bool {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=Self::MAX_DETAIL).contains(&text.len()) && text.bytes().all(is_allowed)
    }
}

impl DenyReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Unspecified,
        Self::ClientIdentifierNotValid,
        Self::BadUserNameOrPassword,
        Self::NotAuthorized,
        Self::ServerUnavailable,
        Self::Banned,
        Self::BadAuthenticationMethod,
        Self::QuotaExceeded,
        Self::ConnectionRateExceeded,
    ];

    /// Name of the case in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::ClientIdentifierNotValid => "client-identifier-not-valid",
            Self::BadUserNameOrPassword => "bad-user-name-or-password",
            Self::NotAuthorized => "not-authorized",
            Self::ServerUnavailable => "server-unavailable",
            Self::Banned => "banned",
            Self::BadAuthenticationMethod => "bad-authentication-method",
            Self::QuotaExceeded => "quota-exceeded",
            Self::ConnectionRateExceeded => "connection-rate-exceeded",
        }
    }

    /// Reason code of an MQTT 5 CONNACK (MQTT 5.0, section 3.2.2.2), for hosts that answer the client themselves.
    #[must_use]
    pub const fn mqtt5_code(self) -> u8 {
        match self {
            Self::Unspecified => 0x80,
            Self::ClientIdentifierNotValid => 0x85,
            Self::BadUserNameOrPassword => 0x86,
            Self::NotAuthorized => 0x87,
            Self::ServerUnavailable => 0x88,
            Self::Banned => 0x8a,
            Self::BadAuthenticationMethod => 0x8c,
            Self::QuotaExceeded => 0x97,
            Self::ConnectionRateExceeded => 0x9f,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_differ_in_the_last_number_are_compatible() {
        for (export, v0_1, v0_2) in [
            ("mqtt-gate:auth/authenticator@0.1.0", true, false),
            ("mqtt-gate:auth/authenticator@0.1.17", true, false),
            ("mqtt-gate:auth/authenticator@0.2.0", false, true),
            ("mqtt-gate:auth/authenticator@0.2.3", false, true),
            ("mqtt-gate:auth/authenticator@0.3.0", false, false),
            ("mqtt-gate:auth/authenticator@1.1.0", false, false),
            ("mqtt-gate:auth/authenticator@0.2.0-rc.1", false, false),
            ("mqtt-gate:auth/authenticator@0.2.", false, false),
            ("mqtt-gate:auth/authenticator", false, false),
            ("mqtt-gate:auth/authorizer@0.2.0", false, false),
        ] {
            assert_eq!(is_compatible(export, ContractVersion::V0_1.authenticator()), v0_1, "{export}");
            assert_eq!(is_compatible(export, ContractVersion::V0_2.authenticator()), v0_2, "{export}");
        }
    }

    #[test]
    fn the_newest_version_of_the_authenticator_decides() {
        let (old, new) = (ContractVersion::V0_1.authenticator(), ContractVersion::V0_2.authenticator());
        for (exports, contract) in [
            (&[old, new][..], Some(ContractVersion::V0_2)),
            (&[old], Some(ContractVersion::V0_1)),
            (&["mqtt-gate:auth/authenticator@0.3.0"], None),
            (&[], None),
        ] {
            assert_eq!(ContractVersion::of(exports.iter().copied()), contract, "{exports:?}");
        }
    }

    #[test]
    fn an_authorizer_must_have_the_version_of_the_authenticator() {
        let (old, new) = (ContractVersion::V0_1.authorizer(), ContractVersion::V0_2.authorizer());
        for (exports, foreign) in [(&[old, new][..], None), (&[new], None), (&[], None), (&[old], Some("0.1.0"))] {
            assert_eq!(foreign_authorizer(exports.iter().copied(), ContractVersion::V0_2), foreign, "{exports:?}");
        }
    }

    #[test]
    fn a_detail_is_a_short_code() {
        for detail in ["a", "token-expired", "0", "-", &"x".repeat(64)] {
            assert!(Denial::is_detail(detail), "{detail}");
        }
        for text in ["", "Token", "a b", "a_b", "a\n", "ü", "<b>", &"x".repeat(65)] {
            assert!(!Denial::is_detail(text), "{text}");
        }
    }

    #[test]
    fn every_reason_has_its_name_and_its_code() {
        let labels = |reason: DenyReason| (reason.name(), reason.mqtt5_code());
        for reason in DenyReason::ALL {
            let same =
                |other: &DenyReason| labels(*other).0 == labels(reason).0 || labels(*other).1 == labels(reason).1;
            assert_eq!(DenyReason::ALL.iter().filter(|other| same(other)).count(), 1, "{reason:?}");
        }
    }
}
