//! A policy that is called besides changes no answer, and its differences are counted.

use crate::chain::members::{SIGNED, chain};
use crate::support::device::Device;
use crate::support::in_process::{AUTH_CORE, Gate, MISBEHAVING};

#[tokio::test(flavor = "multi_thread")]
async fn differences_of_a_monitor_are_counted_and_change_no_answer() {
    let monitor =
        "[[policy]]\nname = \"next\"\nbuiltin = \"lockdown\"\nmode = \"monitor\"\nsettings = { clients = \"c\" }\n";
    let policies = chain(&format!("{monitor}{SIGNED}"));
    let gate = Gate::start_with(AUTH_CORE, |config| config.policy = policies).await;
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    assert_eq!(gate.authenticate(&Device::unsigned("c")).await, 401);
    assert_eq!(gate.authenticate(&Device::forged()).await, 401, "no difference: both refuse");
    let compared = |status: &serde_json::Value| status["chain"][0]["monitor"]["compared"] == 3;
    let status = gate.wait_until("all are compared", compared).await;
    let monitor = &status["chain"][0]["monitor"];
    assert_eq!(monitor["differences"], serde_json::json!({ "would-allow": 1, "would-deny": 1 }), "{monitor}");
    assert_eq!(monitor["examples"][0]["client_id"], "c");
    assert!(!status.to_string().contains(&Device::valid().password), "a password is shown");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_that_traps_delays_and_refuses_no_client() {
    let monitor = format!("[[policy]]\nname = \"next\"\nfile = {MISBEHAVING:?}\nmode = \"monitor\"\n");
    let decides = "[[policy]]\nname = \"decides\"\nbuiltin = \"lockdown\"\nsettings = { clients = \"c\" }\n";
    let policies = chain(&(monitor + decides));
    let gate = Gate::start_with(AUTH_CORE, |config| config.policy = policies).await;
    assert_eq!(gate.authenticate(&Device::triggering("trap")).await, 200);
    let failed = |status: &serde_json::Value| status["chain"][0]["monitor"]["errors"] == 1;
    let status = gate.wait_until("the monitor is called", failed).await;
    assert_eq!(status["chain"][0]["monitor"]["differences"]["would-fail"], 1);
    assert_eq!(status["authenticate"]["errors"], 0);
    gate.stop().await;
}
