//! Each policy of a chain is swapped under load: every login is answered, and by versions that were active.

use std::fs;

use crate::chain::members::{SIGNED, chain};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, REVOKED};
use crate::support::swap_load::SwapLoad;

const SWAPS: u64 = 12;

/// The second policy alternates between auth-core and lockdown, whose answers differ. The first one is swapped meanwhile
/// between two lists that revoke none of the clients.
#[tokio::test(flavor = "multi_thread")]
async fn no_login_is_lost_or_misjudged_while_each_policy_is_swapped() {
    let directory = tempfile::tempdir().unwrap();
    let (first, list) = (directory.path().join("revoked.wasm"), directory.path().join("revoked.txt"));
    let second = directory.path().join("second.wasm");
    fs::copy(REVOKED, &first).unwrap();
    fs::copy(AUTH_CORE, &second).unwrap();
    fs::write(&list, "0").unwrap();
    let revoked =
        format!("[[policy]]\nname = \"revoked\"\nfile = {first:?}\nsettings = {{ revoked = {{ file = {list:?} }} }}\n");
    let signed = SIGNED.replace(" }\n", &format!(", clients = \"operator\" }}\nfile = {second:?}\n"));
    let policies = chain(&(revoked + &signed));
    let gate = Gate::start_with(AUTH_CORE, |config| config.policy = policies).await;
    let load = SwapLoad::start(&gate, SWAPS).await;
    for swap in 1..=SWAPS {
        fs::write(&list, swap.to_string()).unwrap();
        let is_listed = |status: &serde_json::Value| status["chain"][0]["policy"]["generation"] == swap + 1;
        gate.wait_until("the list is active", is_listed).await;
        let component = if swap.is_multiple_of(2) { AUTH_CORE } else { LOCKDOWN };
        load.during(async {
            fs::copy(component, &second).unwrap();
            let is_swapped = |status: &serde_json::Value| status["chain"][1]["policy"]["generation"] == swap + 1;
            gate.wait_until("the policy is swapped", is_swapped).await;
        })
        .await;
    }
    load.finish(&gate).await;
    gate.stop().await;
}
