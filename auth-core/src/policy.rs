//! The two judgements.

use crate::identity::DeviceId;
use crate::settings::Settings;
use crate::types::{Access, AuthorizeRequest, Credentials, DenyReason, Grant, Permission, UnixTime, Verdict};
use crate::username;

/// Judges one device.
///
/// What depends on the device (topics, superusers, expiry) is looked at only once its signature is known to be good; the
/// clock, only if sessions end, because a component has to call its host for the time.
#[must_use]
pub fn authenticate(credentials: &Credentials, settings: &Settings, now: impl FnOnce() -> UnixTime) -> Verdict {
    let Some(device) = DeviceId::parse(credentials.client_id).filter(|device| settings.allows_group(device.group))
    else {
        return Verdict::Deny(DenyReason::ClientIdentifierNotValid);
    };
    let Some(username) = credentials.username.filter(|username| username::is_well_formed(username)) else {
        return Verdict::Deny(DenyReason::BadUserNameOrPassword);
    };
    let password = credentials.password.unwrap_or_default();
    let Some(key) = settings.keys.find_matching_key(device.client_id, username, password) else {
        return Verdict::Deny(DenyReason::BadUserNameOrPassword);
    };
    Verdict::Allow(Grant {
        access: settings.access(&device),
        expires_at: settings.session_end(now),
        key_id: key.id().map(str::to_owned),
    })
}

/// Judges what a connected device wants to do, by the topics that a device of this name is granted when it connects.
///
/// Nothing is allowed to a client that [`authenticate`] could never have let in.
#[must_use]
pub fn authorize(request: &AuthorizeRequest, settings: &Settings) -> Permission {
    let Some(device) = DeviceId::parse(request.client_id).filter(|device| settings.allows_group(device.group)) else {
        return Permission::Deny;
    };
    if request.username.is_some_and(|username| !username::is_well_formed(username)) {
        return Permission::Deny;
    }
    if request.topic.is_empty() {
        return Permission::Allow;
    }
    match settings.access(&device) {
        Access::Everything => Permission::Allow,
        Access::BrokerRules => Permission::Ignore,
        Access::Only(topics) if topics.allow(request.action, request.topic) => Permission::Allow,
        Access::Only(_) => Permission::Deny,
    }
}
