//! What the service manager is told, if one started the gate: systemd, or who speaks as it does (`NOTIFY_SOCKET`).
//!
//! A swap is no reload in its sense, and is never told as one: nothing was asked for, nothing stops meanwhile, and a
//! candidate that is refused is no failure of the service. It shows in the status.

use std::time::Duration;

use sd_notify::NotifyState;

use mqtt_gate_engine::reload::active::{InService, Source};

/// The gate serves, with this policy.
pub(crate) fn ready(serving: &InService) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(serving))]);
}

/// Another policy serves.
pub(crate) fn swapped(serving: &InService) {
    tell(&[NotifyState::Status(&status(serving))]);
}

/// The gate answers what is in flight, and then ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping: answering what is in flight")]);
}

/// The gate is alive.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often the service manager wants to hear that the gate is alive, or it ends it.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|time| !time.is_zero())
}

/// On one line.
fn status(serving: &InService) -> String {
    let (policy, generation) = (&serving.policy, serving.generation);
    let why = if serving.from == Source::LastGood { "; it served last, the policy file is of no use" } else { "" };
    format!("serving {}, sha256 {}, generation {generation}{why}", policy.name(), policy.digest())
}

/// Whoever cannot be told is told nothing; the gate goes on.
fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager how the gate is");
    }
}
