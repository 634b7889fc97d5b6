//! Notifies the service manager (`sd_notify`): systemd, or another program that sets `NOTIFY_SOCKET`.
//!
//! A swap is not a reload in its sense, and is never reported as one: no reload was requested, the service goes on
//! meanwhile, and a rejected policy is no failure of the service. It shows in the status text.

use std::time::Duration;

use mqtt_gate_engine::{ActiveVersion, Chain, PolicyOrigin};
use sd_notify::NotifyState;

/// Reports that the gate serves, and with which policy.
pub(crate) fn ready(chain: &Chain) {
    notify(&[NotifyState::Ready, NotifyState::Status(&status(chain))]);
}

/// Reports that the policy was swapped.
pub(crate) fn swapped(chain: &Chain) {
    notify(&[NotifyState::Status(&status(chain))]);
}

/// Reports that the gate stops.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping: answering requests in flight")]);
}

/// Reports that the gate is alive.
pub(crate) fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// Interval of the watchdog (`WatchdogSec=`), if there is one.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|time| !time.is_zero())
}

/// Warns if a policy that exceeds its timeout could make the watchdog kill a healthy gate.
pub(crate) fn check_watchdog(watchdog: Option<Duration>, policy_timeout: Duration) {
    if let Some(watchdog) = watchdog.filter(|time| policy_timeout >= *time / 4) {
        tracing::warn!(
            ?watchdog,
            ?policy_timeout,
            hint = "lower limits.policy_timeout, or raise WatchdogSec=; systemd may kill a healthy gate",
            "watchdog interval too short for limits.policy_timeout"
        );
    }
}

/// Status text, on one line.
fn status(chain: &Chain) -> String {
    let policies: Vec<_> = chain.members().iter().map(|member| policy_status(&member.active.get())).collect();
    format!("serving {}", policies.join("; then "))
}

fn policy_status(active: &ActiveVersion) -> String {
    let ActiveVersion { policy, generation, origin, .. } = active;
    let fallback = match origin {
        PolicyOrigin::LastKnownGood => "; last known good policy, because the policy file was rejected",
        PolicyOrigin::Embedded | PolicyOrigin::File => "",
    };
    format!("{}, sha256 {}, generation {generation}{fallback}", policy.name(), policy.digest())
}

fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
