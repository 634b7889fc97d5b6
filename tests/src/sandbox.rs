//! Whatever a policy does costs the login it does it in, and nothing else.

use std::num::NonZero;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::device::Device;
use crate::gate::{Gate, MISBEHAVING};
use crate::http::Connection;

const WAYS: [&str; 8] = ["loop", "trap", "hog", "recurse", "error", "error-huge", "huge", "many"];

#[tokio::test(flavor = "multi_thread")]
async fn each_misbehaviour_is_a_refusal_and_the_next_login_is_judged() {
    for calls_per_instance in [1, 1000] {
        let gate = Gate::start_with(MISBEHAVING, |config| {
            config.limits.calls_per_instance = NonZero::new(calls_per_instance).unwrap();
            config.limits.deadline = Duration::from_millis(50);
        })
        .await;
        for (before, way) in (0..).zip(WAYS) {
            let refused = gate.ask(&Device::causing(way).request()).await;
            assert_eq!((refused.status, refused.text()), (503, r#"{"result":"deny"}"#), "{way}");
            assert_eq!(gate.connect(&Device::causing("nothing")).await, 200, "after {way}");
            let status = gate.status().await;
            assert_eq!(status["no_verdict"], json!(before + 1), "{way}");
        }
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn emqx_hears_a_final_refusal_for_every_misbehaviour() {
    let gate = Gate::start_with(MISBEHAVING, |config| config.limits.deadline = Duration::from_millis(50)).await;
    for way in WAYS {
        let answer = gate.ask(&Device::causing(way).request_to("/emqx/auth")).await;
        assert_eq!((answer.status, answer.text()), (200, r#"{"result":"deny"}"#), "{way}");
    }
    gate.stop().await;
}

/// A policy that loops takes a processor each time for as long as the deadline. Whoever asks on another connection of
/// the same worker waits for one of them at the most.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_loops_holds_up_nobody_else() {
    const LOOPS: u32 = 12;
    let deadline = Duration::from_millis(500);
    let gate = Gate::start_with(MISBEHAVING, |config| {
        config.workers = NonZero::<usize>::MIN;
        config.limits.deadline = deadline;
    })
    .await;
    let mut looping = Connection::open(gate.logins).await;
    let mut other = Connection::open(gate.logins).await;
    assert_eq!(other.ask(&Device::causing("nothing").request()).await.status, 200);
    for _ in 0..LOOPS {
        looping.send(&Device::causing("loop").request()).await;
    }
    let mut answered = 0;
    let began = Instant::now();
    while gate.status().await["no_verdict"] != json!(LOOPS) {
        assert_eq!(other.ask(&Device::causing("nothing").request()).await.status, 200);
        answered += 1;
    }
    // Taking turns with the loops would be one answer in the time of each.
    assert!(answered > 2 * LOOPS, "{answered} answers beside {LOOPS} loops in {:?}", began.elapsed());
    for _ in 0..LOOPS {
        assert_eq!(looping.answer().await.status, 503);
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_serves_no_more_calls_than_it_may() {
    for (calls_per_instance, may_grow_old) in [(1, false), (3, false), (1000, true)] {
        let gate = Gate::start_with(MISBEHAVING, |config| {
            config.limits.calls_per_instance = NonZero::new(calls_per_instance).unwrap();
        })
        .await;
        let mut grew_old = false;
        for _ in 0..20 {
            grew_old |= gate.connect(&Device::causing("old")).await != 200;
        }
        assert_eq!(grew_old, may_grow_old, "{calls_per_instance} calls per instance");
        gate.stop().await;
    }
}
