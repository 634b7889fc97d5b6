//! The lockdown policy.

use crate::support::device::Device;
use crate::support::in_process::{Gate, LOCKDOWN, OPERATOR};

#[tokio::test(flavor = "multi_thread")]
async fn lockdown_allows_listed_clients_only() {
    let gate = Gate::start(LOCKDOWN).await;
    assert_eq!(gate.authenticate(&Device::unsigned(OPERATOR)).await, 200);
    for client_id in ["", "Operator", "operator ", "operator,"] {
        assert_eq!(gate.authenticate(&Device::unsigned(client_id)).await, 401, "{client_id}");
    }
    assert_eq!(gate.authenticate(&Device::valid()).await, 401);
    gate.stop().await;
}
