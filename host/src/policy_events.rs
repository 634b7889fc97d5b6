//! Logs the events of a policy.

use mqtt_gate_engine::watch::WatchError;
use mqtt_gate_engine::{Policy, PolicyEvent};

use crate::config::KEY_SETTING;

/// Logs an event of the policy.
pub(crate) fn observe(event: &PolicyEvent) {
    match event {
        PolicyEvent::Loaded(active) => {
            let (name, sha256, origin) = (active.policy.name(), active.policy.digest(), active.origin.name());
            tracing::info!(name, %sha256, origin, "policy loaded");
            warn_about_settings(&active.policy);
        }
        PolicyEvent::Activated { before, active, settings_changed } => {
            let (from, to) = (before.policy.digest(), active.policy.digest());
            let (name, generation) = (active.policy.name(), active.generation);
            tracing::info!(name, %from, %to, settings_changed, generation, "policy swapped");
            warn_about_settings(&active.policy);
        }
        PolicyEvent::Rejected { candidate, active, reason } => {
            let candidate = candidate.map_or_else(|| "unread".to_owned(), |digest| digest.to_string());
            tracing::error!(candidate, %active, reason, "policy rejected; keeping the active policy");
        }
        PolicyEvent::PartActivated { on_hold } => tracing::warn!(
            on_hold = on_hold.name(),
            hint = "correct what is on hold; the log says above why it was rejected",
            "policy swapped in part"
        ),
        PolicyEvent::Returned { from, to } => tracing::error!(
            %from,
            %to,
            hint = "put another policy in the policy file; this one is not activated again before",
            "policy failed 20 calls in a row; returning to the one before"
        ),
        PolicyEvent::CannotReturn { from, reason } => tracing::error!(
            sha256 = %from,
            reason = reason.unwrap_or("no other policy was active before"),
            hint = "put a working policy in the policy file, or correct its settings; /readyz answers 503 until a login is allowed",
            "policy failed 20 calls in a row, and there is none to return to"
        ),
        PolicyEvent::Restored => tracing::info!("policy file matches the active policy again"),
        PolicyEvent::FileDetached { path } => tracing::warn!(
            path = %path.display(),
            hint = "mount the directory of the file instead of the file, and restart the gate",
            "file was replaced outside its mount; no change of it is seen here"
        ),
        PolicyEvent::Unstable => tracing::warn!(
            hint = "find the program that keeps writing to the policy file or its settings",
            "policy file or settings keep changing; retrying"
        ),
        PolicyEvent::FallbackUsed { digest, directory, reason } => tracing::warn!(
            reason,
            sha256 = %digest,
            directory = %directory.display(),
            hint = "put a working policy in the policy file; it is activated at once",
            "policy file rejected; using last known good policy"
        ),
        PolicyEvent::StateInUse { directory, owner } => {
            tracing::info!(directory = %directory.display(), owner, "waiting for another gate to stop");
        }
        PolicyEvent::FallbackRejected { path, reason } => {
            tracing::error!(path = %path.display(), reason, "last known good policy rejected");
        }
        PolicyEvent::PersistFailed { directory, error } => tracing::warn!(
            directory = %directory.display(),
            %error,
            hint = "let the gate write there; without a last known good policy it cannot start with a broken policy file",
            "cannot save last known good policy; retrying"
        ),
    }
}

/// Logs that file events cannot be had.
pub(crate) fn watch_error(error: &WatchError) {
    let error = mqtt_gate_engine::util::sanitize::error_chain(error);
    tracing::warn!(error, "no file events; polling every few seconds");
}

/// Logs settings that the operator may not have meant.
fn warn_about_settings(policy: &Policy) {
    let unused = policy.unused_settings();
    if !unused.is_empty() {
        let settings = unused.join(", ");
        let hint = "correct the name, or remove the setting if no other policy needs it";
        tracing::info!(settings, hint, "policy does not read some settings");
    }
    for (setting, problem) in policy.settings().doubts() {
        tracing::warn!(setting, problem, "setting may be wrong");
    }
    if policy.reads("allow-insecure-key") && policy.settings().get("allow-insecure-key") == Some("true") {
        let hint = format!("set a random key in {KEY_SETTING}, and remove allow-insecure-key");
        tracing::warn!(hint, "allow-insecure-key is set: published keys are accepted");
    }
}
