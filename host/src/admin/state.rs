//! State that the admin routes read.

use std::sync::Arc;

use mqtt_gate_engine::{ActivePolicy, HistoryReader, InstanceCounter, MemoryBudget};
use tokio_util::sync::CancellationToken;

use super::auth::Denials;
use crate::decision::refusals::Refusals;
use crate::emqx_api::cache_reset::CacheReset;
use crate::net::accept::ConnectionLimit;
use crate::net::buffer_limit::BufferLimit;
use crate::security::CredentialHandle;
use crate::security::handshake_failures::HandshakeFailures;
use crate::telemetry::Telemetry;

/// Read access to the parts of a gate.
#[derive(Clone)]
pub(crate) struct AdminState {
    pub(crate) active: ActivePolicy,
    pub(crate) history: HistoryReader,
    pub(crate) telemetry: Telemetry,
    pub(crate) connections: ConnectionLimit,
    pub(crate) buffer_limit: BufferLimit,
    pub(crate) instances: Arc<InstanceCounter>,
    pub(crate) policy_memory: Arc<MemoryBudget>,
    pub(crate) cache_reset: CacheReset,
    pub(crate) refusals: Arc<Refusals>,
    /// Credentials of both listeners.
    pub(crate) credentials: Vec<CredentialHandle>,
    /// TLS handshakes that failed, by the name of the listener's certificate in the configuration.
    pub(crate) handshake_failures: Vec<(&'static str, Arc<HandshakeFailures>)>,
    pub(crate) denials: Arc<Denials>,
    pub(crate) shutdown: CancellationToken,
}
