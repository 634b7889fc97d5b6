//! A load of pipelined requests that checks every response against the policies that were active while it was in
//! flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::support::device::Device;
use crate::support::http::{Connection, post};
use crate::support::in_process::{Gate, OPERATOR};

const CONNECTIONS: usize = 8;

/// Requests per burst: more than a server reads at once.
const DEPTH: usize = 48;

/// Progress of the swaps. `2n`: policy n is active and no other can be. `2n + 1`: policy n or n + 1 is active.
type Phase = Arc<AtomicU64>;

/// A request, and the status code that each of the two policies gives.
struct Check {
    request: Vec<u8>,
    by_auth_core: u16,
    by_lockdown: u16,
}

/// Requests that are sent in turn. Neighbours have different responses, so a response out of order is detected.
fn checks() -> [Check; 3] {
    [
        Check { request: Device::valid().request(), by_auth_core: 200, by_lockdown: 401 },
        Check { request: post("/mqtt/auth", "application/json", b"{"), by_auth_core: 400, by_lockdown: 400 },
        Check { request: Device::unsigned(OPERATOR).request(), by_auth_core: 401, by_lockdown: 200 },
    ]
}

impl Check {
    /// The status code while policy number `policy` is active. The even ones are auth-core.
    fn status_under(&self, policy: u64) -> u16 {
        if policy.is_multiple_of(2) { self.by_auth_core } else { self.by_lockdown }
    }

    /// Whether a policy that was active between the two phases gives this status code.
    fn is_possible(&self, status: u16, sent_in: u64, answered_in: u64) -> bool {
        (sent_in / 2..=answered_in.div_ceil(2)).any(|policy| self.status_under(policy) == status)
    }
}

/// A running load on a gate whose policy alternates between auth-core and lockdown.
pub(crate) struct SwapLoad {
    phase: Phase,
    clients: Vec<JoinHandle<u64>>,
}

impl SwapLoad {
    /// Starts a load that ends after this number of swaps.
    pub(crate) async fn start(gate: &Gate, swaps: u64) -> Self {
        let phase = Phase::default();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(tokio::spawn(send_bursts(Connection::open(gate.auth).await, Arc::clone(&phase), swaps)));
        }
        Self { phase, clients }
    }

    /// Runs one swap. The new policy is the only active one once `swap` returns.
    pub(crate) async fn during<T>(&self, swap: impl Future<Output = T>) -> T {
        self.phase.fetch_add(1, SeqCst);
        let result = swap.await;
        self.phase.fetch_add(1, SeqCst);
        result
    }

    /// Waits for the clients, and asserts that every request was answered, and by a policy. Returns the final
    /// `/status`.
    pub(crate) async fn finish(self, gate: &Gate) -> Value {
        let mut responses = 0;
        for client in self.clients {
            responses += client.await.unwrap();
        }
        let status = gate.status().await;
        let counted = ["/authenticate/calls", "/malformed_requests"];
        let counted: u64 = counted.iter().map(|counter| status.pointer(counter).unwrap().as_u64().unwrap()).sum();
        assert_eq!(counted, responses);
        assert_eq!((&status["authenticate"]["errors"], &status["rejected"]["count"]), (&0.into(), &0.into()));
        status
    }
}

/// Sends bursts until the swaps are done. Returns the number of responses.
async fn send_bursts(mut connection: Connection, phase: Phase, swaps: u64) -> u64 {
    let checks = checks();
    let burst: Vec<u8> = (0..DEPTH).flat_map(|at| checks[at % checks.len()].request.iter().copied()).collect();
    let mut responses = 0;
    while phase.load(SeqCst) < 2 * swaps {
        let sent_in = phase.load(SeqCst);
        connection.send(&burst).await;
        for at in 0..DEPTH {
            let status = connection.response().await.status;
            let answered_in = phase.load(SeqCst);
            assert!(
                checks[at % checks.len()].is_possible(status, sent_in, answered_in),
                "{status} to request {at}, sent in phase {sent_in} and answered in phase {answered_in}"
            );
            responses += 1;
        }
    }
    responses
}
