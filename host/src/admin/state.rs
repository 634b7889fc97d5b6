//! State that the admin routes read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mqtt_gate_engine::{Chain, InstanceCounter, MemoryBudget};
use tokio_util::sync::CancellationToken;

use super::auth::Denials;
use crate::config_file::ConfigFileState;
use crate::decision::ChainEvaluator;
use crate::decision::monitor::Monitors;
use crate::emqx_api::cache_reset::CacheReset;
use crate::http::site::Sites;
use crate::net::accept::ConnectionLimit;
use crate::net::buffer_limit::BufferLimit;
use crate::security::CredentialHandle;
use crate::security::handshake_failures::HandshakeFailures;
use crate::telemetry::Telemetry;

/// Read access to the parts of a gate.
#[derive(Clone)]
pub(crate) struct AdminState {
    pub(crate) sites: Arc<Sites<ChainEvaluator>>,
    pub(crate) monitors: Monitors,
    pub(crate) config_file: ConfigFileState,
    /// Activations of the policies of all sites.
    pub(crate) activations: Arc<AtomicU64>,
    pub(crate) telemetry: Telemetry,
    pub(crate) connections: ConnectionLimit,
    pub(crate) buffer_limit: BufferLimit,
    pub(crate) instances: Arc<InstanceCounter>,
    pub(crate) policy_memory: Arc<MemoryBudget>,
    pub(crate) cache_reset: CacheReset,
    /// Credentials of both listeners.
    pub(crate) credentials: Vec<CredentialHandle>,
    /// TLS handshakes that failed, by the name of the listener's certificate in the configuration.
    pub(crate) handshake_failures: Vec<(&'static str, Arc<HandshakeFailures>)>,
    pub(crate) denials: Arc<Denials>,
    pub(crate) shutdown: CancellationToken,
}

impl AdminState {
    /// The chain of the gate's own site.
    pub(crate) fn chain(&self) -> Arc<Chain> {
        self.sites.gate.evaluator.chain().get()
    }

    /// Activations of the policies of all sites, which caches of brokers follow.
    pub(crate) fn activations(&self) -> u64 {
        self.activations.load(Relaxed)
    }
}
