//! What the sweeps over the connected clients of one broker did, for status and metrics.

use std::time::SystemTime;

use mqtt_gate_engine::util::name::Name;

use crate::config::OnRevoke;

/// The last sweep of one broker, and totals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Number of activations before the sweep; 0 before the first sweep.
    pub(crate) generation: u64,
    /// Whether the sweep is not finished.
    pub(crate) is_running: bool,
    /// Start of the sweep.
    pub(crate) since: Option<SystemTime>,
    /// Whether no policy can be asked about connected clients.
    pub(crate) lacks_authorizer: bool,
    /// Policies without an authorizer.
    pub(crate) lacking: Vec<&'static str>,
    /// Clients that the policies were asked about.
    pub(crate) examined: u64,
    /// Clients that they deny.
    pub(crate) denied: u64,
    /// Clients that were disconnected or banned.
    pub(crate) kicked: u64,
    /// Clients about whom the policies failed. They stay connected.
    pub(crate) failed: u64,
    /// Why the last call of the API failed, and since when calls fail.
    pub(crate) error: Option<(String, SystemTime)>,
    pub(crate) totals: Totals,
}

/// Counts since the start of the gate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Sweeps that examined every client and disconnected every denied one.
    pub(crate) succeeded: u64,
    /// Calls of the API that failed. Each is retried.
    pub(crate) failed: u64,
    /// Sweeps that ended early for a newer activation.
    pub(crate) interrupted: u64,
    /// Sweeps that did not begin, because no policy has an authorizer.
    pub(crate) skipped: u64,
    /// Clients that were disconnected.
    pub(crate) kicked: u64,
    /// Clients that were banned.
    pub(crate) banned: u64,
}

/// The broker's address and its progress, for status and metrics.
pub(crate) struct RevocationProgress {
    /// Base URL of the API.
    pub(crate) api: String,
    pub(crate) tenant: Option<Name>,
    pub(crate) action: OnRevoke,
    pub(crate) progress: Progress,
}

impl Progress {
    /// The list of clients is read from its beginning.
    pub(super) fn begin_list(&mut self) {
        (self.examined, self.failed, self.denied) = (0, 0, self.kicked);
    }
}
