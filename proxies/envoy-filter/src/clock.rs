//! The time of day. No other file looks at a clock.

use std::time::UNIX_EPOCH;

use auth_core::UnixTime;
use proxy_wasm::hostcalls;

/// Now. A clock that cannot be read is at its end: every grant has expired then.
pub(crate) fn now() -> UnixTime {
    let since = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
    UnixTime(since.map_or(u64::MAX, |since| since.as_secs()))
}
