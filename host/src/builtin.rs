//! The policies that are part of the program.

use crate::config::Builtin;

/// The default policy, built from `auth-core`.
pub static AUTH_CORE: &[u8] = include_bytes!(env!("MQTT_GATE_DEFAULT_POLICY"));

/// The incident policy, built from `policies/lockdown`.
static LOCKDOWN: &[u8] = include_bytes!(env!("MQTT_GATE_LOCKDOWN"));

/// The policy that denies revoked clients, built from `policies/revoked`.
static REVOKED: &[u8] = include_bytes!(env!("MQTT_GATE_REVOKED"));

/// The policy for JSON Web Tokens, built from `policies/jwt`.
static JWT: &[u8] = include_bytes!(env!("MQTT_GATE_JWT"));

/// The component of an embedded policy.
#[must_use]
pub fn component(builtin: Option<Builtin>) -> &'static [u8] {
    match builtin {
        None | Some(Builtin::AuthCore) => AUTH_CORE,
        Some(Builtin::Jwt) => JWT,
        Some(Builtin::Lockdown) => LOCKDOWN,
        Some(Builtin::Revoked) => REVOKED,
    }
}
