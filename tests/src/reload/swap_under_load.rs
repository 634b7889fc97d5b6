//! Swaps under load: every request is answered, by one of the two policies.

use std::fs;

use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN};
use crate::support::swap_load::SwapLoad;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_swaps_under_load_lose_no_request() {
    const SWAPS: u64 = 50;
    let gate = Gate::start(AUTH_CORE).await;
    let policies = [fs::read(AUTH_CORE).unwrap(), fs::read(LOCKDOWN).unwrap()];
    let load = SwapLoad::start(&gate, SWAPS).await;
    for swap in 1..=SWAPS {
        load.during(async {
            gate.rename_policy(&policies[usize::try_from(swap % 2).unwrap()]);
            gate.wait_for_generation(swap + 1).await;
        })
        .await;
    }
    load.finish(&gate).await;
    gate.stop().await;
}
