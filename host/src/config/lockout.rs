//! `[lockout]`: clients that keep failing.

use std::num::NonZero;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, check_range, invalid};

/// Limits of failed logins. A client that reaches them is refused for a time, without a call of the policy.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "the table [lockout]")]
pub struct LockoutConfig {
    /// Failed logins that lock a client out. The same request counts once within five seconds: EMQX sends a request up to
    /// three times if a connection dies.
    pub failures: NonZero<u32>,
    /// Time within which they count.
    #[serde(with = "humantime_serde")]
    pub within: Duration,
    /// Time for which the client is refused.
    #[serde(rename = "for", with = "humantime_serde")]
    pub locked_for: Duration,
    /// The fields that tell clients apart.
    pub by: LockoutKey,
}

/// The fields that tell clients apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockoutKey {
    /// The client id and the address together. A stranger at another address cannot lock a device out.
    #[default]
    ClientAndPeer,
    /// The client id. Anybody who knows it can lock the device out.
    ClientId,
    /// The address. Devices behind one router are locked out together.
    Peer,
}

impl Default for LockoutConfig {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        let failures = NonZero::<u32>::MIN.saturating_add(9);
        Self { failures, within: minute, locked_for: minute, by: LockoutKey::default() }
    }
}

impl LockoutConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
        let show = |time: &Duration| humantime::format_duration(*time).to_string();
        check_range("lockout.failures", self.failures.get(), 2..=10_000, ToString::to_string)?;
        check_range("lockout.within", self.within, Duration::from_secs(1)..=hours(24), show)?;
        check_range("lockout.for", self.locked_for, Duration::from_secs(1)..=hours(24), show)?;
        if self.locked_for.subsec_nanos() != 0 {
            return Err(invalid("lockout.for", "must be whole seconds"));
        }
        Ok(())
    }
}
