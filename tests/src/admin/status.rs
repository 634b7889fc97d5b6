//! Probes and the counts of `/status`.

use serde_json::{Value, json};

use crate::support::device::{Device, USERNAME};
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::poll_until;

#[tokio::test(flavor = "multi_thread")]
async fn serving_gate_is_live_and_ready() {
    let gate = Gate::start(AUTH_CORE).await;
    for route in ["/livez", "/readyz"] {
        assert_eq!(Connection::open(gate.admin).await.request(&get(route)).await.status, 200);
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_counts_verdicts_and_lists_unused_settings() {
    let gate = Gate::start(AUTH_CORE).await;
    gate.authenticate(&Device::valid()).await;
    gate.authenticate(&Device { username: USERNAME.into(), ..Device::unsigned("x") }).await;
    let status = gate.status().await;
    let expected = json!({ "calls": 2, "verdicts": { "allow": 1, "deny": 1, "ignore": 0 }, "errors": 0 });
    assert_eq!(status["authenticate"], expected);
    assert_eq!(status["policy"]["name"], "auth-core");
    assert_eq!(status["policy"]["unused_settings"], json!(["clients"]));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_of_each_second_are_kept_for_the_dashboard() {
    let gate = Gate::start(AUTH_CORE).await;
    for status in [200, 200, 401] {
        let device = if status == 200 { Device::valid() } else { Device::forged() };
        assert_eq!(gate.authenticate(&device).await, status);
    }
    let sum = |rates: &Value, verdict: &str| -> u64 {
        rates[verdict].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()
    };
    poll_until("the seconds hold every login", async || {
        let rates = Connection::open(gate.admin).await.request(&get("/rates")).await.json();
        ((sum(&rates, "allow"), sum(&rates, "deny"), sum(&rates, "error")) == (2, 1, 0)).then_some(())
    })
    .await;
    gate.stop().await;
}
